"""One visitor of the dashboard without a browser, who uses Streamlit's WebSocket and upload requests directly.

All messages that arrive until the script has finished are kept unchanged, so that they can be searched.
"""

from __future__ import annotations

import http.client
import itertools
import json
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

TIMEOUT = 120.0
"""Maximum seconds to wait for an answer."""
XSRF = "_streamlit_xsrf"


class Session:
    """A session on a page of the server at 127.0.0.1:port. Not safe to use from several threads."""

    def __init__(self, port: int, page: str = "compare") -> None:
        self._port, self._page, self._count = port, page, itertools.count()
        self._xsrf = _token(port)
        self._open = ExitStack()
        self._socket = self._open.enter_context(
            connect(
                f"ws://127.0.0.1:{port}/_stcore/stream",
                subprotocols=["streamlit", self._xsrf],  # type: ignore[list-item]
                additional_headers={"Cookie": f"{XSRF}={self._xsrf}"},
                max_size=None,
                compression=None,
                proxy=None,
            )
        )
        self.session_id, self.zone = "", ""
        self.shown: list[dict[str, Any]] = []
        self.raw: list[bytes] = []

    def close(self) -> None:
        self._open.close()

    def open(self) -> None:
        """Load the page, and wait until the script has finished."""
        self._rerun(BackMsg())

    def drop(self, name: str, data: bytes) -> float:
        """Drop an image on the drop zone. Returns the seconds until the viewer shows it."""
        start = time.perf_counter()
        self._rerun(self._uploaded(name, data), name)
        return time.perf_counter() - start

    def load(self, name: str, data: bytes) -> None:
        """Drop any other file on the drop zone, and wait until the script has finished."""
        self._rerun(self._uploaded(name, data))

    def _uploaded(self, name: str, data: bytes) -> BackMsg:
        """Upload a file; returns the message that tells the script about it."""
        request = BackMsg()
        request.file_urls_request.request_id = uuid.uuid4().hex
        request.file_urls_request.session_id = self.session_id
        request.file_urls_request.file_names.append(name)
        self._socket.send(request.SerializeToString())
        for message in self._messages():
            if message.WhichOneof("type") == "file_urls_response":
                (urls,) = message.file_urls_response.file_urls
                break
        self._put(urls.upload_url, name, data)
        message = BackMsg()
        state = message.rerun_script.widget_states.widgets.add()
        state.id = self.zone
        info = state.file_uploader_state_value.uploaded_file_info.add()
        info.file_id, info.name, info.size = urls.file_id, name, len(data)
        info.file_urls.CopyFrom(urls)
        return message

    def _rerun(self, message: BackMsg, until: str = "") -> None:
        """Run the page's script, and wait until it has finished and, if `until` is a name, has shown that image."""
        message.rerun_script.page_name = self._page
        self.raw, self.shown = [], []
        self._socket.send(message.SerializeToString())
        for answer in self._messages():
            self._handle(answer)
            there = not until or any(data["image"]["name"] == until for data in self.shown)
            if answer.WhichOneof("type") == "script_finished" and there and self.zone:
                return

    def _handle(self, message: ForwardMsg) -> None:
        kind = message.WhichOneof("type")
        if kind == "new_session":
            self.session_id = message.new_session.initialize.session_id or self.session_id
        if kind != "delta":
            return
        element = message.delta.new_element
        if element.WhichOneof("type") == "file_uploader":
            self.zone = element.file_uploader.id
        if element.WhichOneof("type") == "bidi_component":
            text = element.bidi_component.json or element.bidi_component.mixed.json
            data = json.loads(text) if text else {}
            if isinstance(data, dict) and "reference" in data:
                self.shown.append(data)

    def _messages(self) -> Iterator[ForwardMsg]:
        end = time.monotonic() + TIMEOUT
        while True:
            data = self._socket.recv(timeout=max(0.1, end - time.monotonic()))
            assert isinstance(data, bytes)
            self.raw.append(data)
            message = ForwardMsg()
            message.ParseFromString(data)
            yield message

    def _put(self, url: str, name: str, data: bytes) -> None:
        edge = uuid.uuid4().hex
        head = f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
        body = head.encode() + data + f"\r\n--{edge}--\r\n".encode()
        headers = {
            "Content-Type": f"multipart/form-data; boundary={edge}",
            "Cookie": f"{XSRF}={self._xsrf}",
            "X-Xsrftoken": self._xsrf,
        }
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT)
        connection.request("PUT", url, body, headers)
        status = connection.getresponse().status
        connection.close()
        if status != 204:
            raise RuntimeError(f"the upload of {name} ended with status {status}")


def _token(port: int) -> str:
    """The token that the server expects with each upload."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    connection.request("GET", "/_stcore/health")
    cookies = connection.getresponse().getheader("Set-Cookie") or ""
    connection.close()
    return cookies.split(f"{XSRF}=", 1)[1].split(";", 1)[0] if XSRF in cookies else ""
