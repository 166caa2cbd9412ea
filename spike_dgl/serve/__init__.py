"""A finished run as a web server: an explorer for the browser, an HTTP API, and its OpenAPI page.

`api` says which questions can be asked, `messages` of which form questions and answers are, `security` who may ask
and how much, `server` opens the port.
"""
