// No validator badge: it would be loaded from another host.
SwaggerUIBundle({ url: "openapi.json", dom_id: "#openapi", validatorUrl: null });
