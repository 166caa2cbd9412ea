"""A finished run as a web server: an explorer for the browser, an HTTP API, and its OpenAPI page.

`api` says which questions can be asked, `messages` of which form questions and answers are, `security` who may ask
and how much. `service` answers from one run, `deployment` puts a newer one in its place, `observation` and `metrics`
tell how it goes, and `server` opens the port.
"""
