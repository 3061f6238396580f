"""What a browser would do, from the laptop's side of the forwarded port:   python3 tests/vagrant/notebook.py URL NOTEBOOK

Without the token JupyterLab is to refuse; with it, a notebook's cells are run one after the other in a kernel of its own, by Jupyter's
REST API and its websocket. Ends with 1, and says why, where an answer or a cell is an error.

Source: Jupyter Server's REST API; "Messaging in Jupyter", 5.3.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
import uuid
from urllib.parse import parse_qs, urlsplit

import websocket

SECONDS = 900.0  # for one cell, in a machine that may be emulated


def main(url: str, name: str) -> None:
    parts = urlsplit(url)
    address, token = parts.netloc, parse_qs(parts.query)["token"][0]
    for path in ("/api/kernels", f"/api/contents/{name}", "/api/terminals"):
        for headers in ({}, {"Authorization": "token 0"}):
            status, _ = asked(address, path, headers)
            assert status == 403, f"{path} without the token: {status}, not 403"
    print(f"   without the token {address} refuses")

    authorization = {"Authorization": f"token {token}"}
    document = json.loads(answer(address, f"/api/contents/{name}", authorization))
    cells = ["".join(cell["source"]) for cell in document["content"]["cells"] if cell["cell_type"] == "code"]
    began = time.monotonic()
    body = json.dumps({"path": name, "name": name, "type": "notebook", "kernel": {"name": "python3"}}).encode()
    session = json.loads(answer(address, "/api/sessions", authorization, body))
    kernel = session["kernel"]["id"]
    connection = websocket.create_connection(f"ws://{address}/api/kernels/{kernel}/channels?token={token}", timeout=SECONDS)
    try:
        for number, cell in enumerate(cells, 1):
            run(connection, cell)
            print(f"   {name}: cell {number} of {len(cells)}, {time.monotonic() - began:.0f} s", flush=True)
    finally:
        connection.close()
        asked(address, f"/api/sessions/{session['id']}", authorization, method="DELETE")


def run(connection: websocket.WebSocket, source: str) -> None:
    """One cell; ``AssertionError`` with the end of its traceback if it fails. The kernel is idle again when it is done."""
    request = uuid.uuid4().hex
    header = {"msg_id": request, "msg_type": "execute_request", "session": "vagrant", "username": "", "version": "5.3", "date": ""}
    content = {"code": source, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False, "stop_on_error": True}
    message = {"channel": "shell", "header": header, "parent_header": {}, "metadata": {}, "content": content, "buffers": []}
    connection.send(json.dumps(message))
    while True:
        said = json.loads(connection.recv())
        if said["parent_header"].get("msg_id") != request:
            continue
        assert said["msg_type"] != "error", f"{source}\n" + "\n".join(said["content"]["traceback"][-3:])
        if said["msg_type"] == "status" and said["content"]["execution_state"] == "idle":
            return


def asked(address: str, path: str, headers: dict[str, str], body: bytes | None = None, method: str | None = None) -> tuple[int, bytes]:
    request = urllib.request.Request(f"http://{address}{path}", body, headers, method=method)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=SECONDS) as answered:
            return answered.status, answered.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def answer(address: str, path: str, headers: dict[str, str], body: bytes | None = None) -> bytes:
    status, data = asked(address, path, headers, body)
    assert status in (200, 201), f"{path}: {status} {data[:300]!r}"
    return data


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2])
    except AssertionError as error:
        sys.exit(f"✘ {error}")
