// Requests to the API of this server.

const TOKEN = "spike_dgl token";

export class Problem extends Error {}

// Requests of one part of the page: a new request cancels the previous one.
export class Asker {
  #abort = new AbortController();

  cancel() {
    this.#abort.abort();
    this.#abort = new AbortController();
  }

  get(path, parameters = {}) {
    const query = new URLSearchParams(parameters).toString();
    return this.#send(query ? `${path}?${query}` : path, {});
  }

  post(path, body) {
    const headers = { "Content-Type": "application/json" };
    return this.#send(path, { method: "POST", headers, body: JSON.stringify(body) });
  }

  async #send(path, options) {
    this.cancel();
    const { signal } = this.#abort;
    for (;;) {
      const token = sessionStorage.getItem(TOKEN);
      const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
      let response;
      try {
        response = await fetch(`api/${path}`, { ...options, headers, signal });
      } catch (error) {
        if (error.name === "AbortError") throw error;
        throw new Problem("The server does not answer. Is it still running?");
      }
      if (response.status === 401) {
        await tokenFromReader(token);
        continue;
      }
      const answer = await response.json().catch(() => ({ detail: response.statusText }));
      signal.throwIfAborted();
      if (!response.ok) throw new Problem(sentence(answer.detail));
      return answer;
    }
  }
}

const sentence = (detail) => (Array.isArray(detail) ? detail.map((part) => part.msg).join("; ") : String(detail));

const dialog = document.getElementById("token-dialog");
dialog.addEventListener("cancel", (event) => event.preventDefault());
let waiting = null;

// One dialog for all requests that wait for the token.
function tokenFromReader(refused) {
  if (sessionStorage.getItem(TOKEN) !== refused) return Promise.resolve();
  waiting ??= new Promise((resolve) => {
    const input = document.getElementById("token");
    input.value = "";
    dialog.addEventListener(
      "close",
      () => {
        sessionStorage.setItem(TOKEN, input.value.trim());
        waiting = null;
        resolve();
      },
      { once: true },
    );
    dialog.showModal();
  });
  return waiting;
}
