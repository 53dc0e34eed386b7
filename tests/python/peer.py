"""What the publishing peers share: the lines they exchange with the test, and the two ways to make an offer known.

A peer writes one JSON object a line to its standard output, each with `event`, and takes commands as JSON objects, one a
line, from its standard input. It ends when that is closed.
"""

import json
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request

_lock = threading.Lock()


def tell(event, **more):
    """Writes one line; from any thread."""
    line = json.dumps({"event": event, **more})
    with _lock:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def commands(act):
    """Calls `act` with each command on a thread of its own, and with None at the end."""

    def run():
        for line in sys.stdin:
            act(json.loads(line))
        act(None)

    threading.Thread(target=run, daemon=True).start()


def request(method, url, body=None, kind=None, token=None):
    """(status, header fields with lower-case names, body); never raises for a status."""
    headers = {}
    if kind:
        headers["Content-Type"] = kind
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = body.encode() if body is not None else None
    asked = urllib.request.Request(url, data=data, method=method, headers=headers)
    try:
        # No proxy of the machine's: everything is on loopback or in a namespace.
        answer = urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=15)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        fields = {name.lower(): value for name, value in answer.headers.items()}
        return answer.status, fields, answer.read().decode()


def exchange(url, sdp, token=None, **more):
    """Sends the offer to a WHIP endpoint, or as JSON where the address ends with `/offer`, and tells the answer.

    Returns (answer, address of the session); a refusal is told and ends the program.
    """
    if urllib.parse.urlsplit(url).path.endswith("/offer"):
        offer = json.dumps({"sdp": sdp, "type": "offer", **more})
        status, fields, body = request("POST", url, offer, "application/json", token)
        answer = json.loads(body)["sdp"] if status == 200 else None
        session = None
    else:
        status, fields, body = request("POST", url, sdp, "application/sdp", token)
        answer = body if status == 201 else None
        session = urllib.parse.urljoin(url, fields["location"]) if status == 201 else None
    tell("answer" if answer else "refused", status=status, headers=fields, body=body, session=session)
    if answer is None:
        sys.exit(3)
    return answer, session
