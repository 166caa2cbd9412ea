"""Web server of a finished run: an explorer for the browser, an HTTP API, and its OpenAPI page.

`api` has the routes, `messages` the schemas of requests and responses, `security` the access control and limits.
`service` answers from one run, `deployment` replaces it by a newer one, `observation` and `metrics` do logging and
monitoring, and `server` opens the port.
"""
