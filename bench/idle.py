"""`python -m bench.idle PORT COUNT`: opens connections, has each served once, says so, holds them until its input ends."""

import socket
import sys

from barnabas.wire.frame import request_head

from . import requests


def main() -> None:
    port, count = int(sys.argv[1]), int(sys.argv[2])
    question = request_head(requests.API_VERSIONS, 0, 1, "idle", 0)
    held = []
    for _ in range(count):
        peer = socket.create_connection(("127.0.0.1", port))
        peer.sendall(question)
        requests.read_frame(peer)
        held.append(peer)
    print("open", flush=True)
    sys.stdin.read()
    for peer in held:
        peer.close()


if __name__ == "__main__":
    main()
