// Shows the page in a cell's output on Colab and carries its requests to the kernel. `given` comes from _colab.py; `google`
// is Colab's, and is there in outputs of cells alone.
async (given) => {
  const place = document.getElementById(given.place);
  const say = (text) => (place.querySelector("p").textContent = text);
  let address;
  try {
    const base = await google.colab.kernel.proxyPort(given.port, { cache: true });
    address = new URL(given.path.replace(/^\//, ""), base.endsWith("/") ? base : `${base}/`);
  } catch (error) {
    say(`Colab gives no address for port ${given.port}: ${error}. Run the cell again; where that does not help, use a tunnel.`);
    return;
  }
  // Behind the `#`, so that it never leaves the browser.
  address.hash = new URLSearchParams({ kernel: given.nonce, cell: self.origin }).toString();

  /** Pages that were opened here; nobody else is listened to. */
  const pages = new Set();
  const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
  const textOf = (bytes) => {
    let text = "";
    for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
    return btoa(text);
  };
  const carry = async ({ id, method, path, type, body }) => {
    try {
      const sent = body ? textOf(body) : "";
      const { data } = await google.colab.kernel.invokeFunction(given.callback, [method, path, type, sent], {});
      const answer = data["application/json"];
      return { id, status: answer.status, type: answer.type, body: bytesOf(answer.body) };
    } catch (error) {
      const problem = { status: 503, detail: `the notebook's kernel refused: ${error}; run the cell that shows this page again` };
      return { id, status: 503, type: "application/problem+json", body: new TextEncoder().encode(JSON.stringify(problem)).buffer };
    }
  };
  window.addEventListener("message", ({ source, origin, data, ports }) => {
    if (!pages.has(source) || origin !== address.origin || data?.ooblex !== given.nonce || ports.length !== 1) return;
    const [line] = ports;
    line.onmessage = async (request) => {
      const answer = await carry(request.data);
      line.postMessage(answer, [answer.body]);
    };
    line.postMessage("ready");
  });

  const frame = document.createElement("iframe");
  frame.allow = "camera; display-capture; fullscreen; autoplay; clipboard-write";
  frame.style.cssText = `width: 100%; height: ${given.height}px; border: 0`;
  frame.src = address.href;
  const open = document.createElement("button");
  open.textContent = "Open in a tab";
  open.title = "Where the browser gives the camera to no page inside a notebook. Keep the notebook open.";
  open.onclick = () => {
    const tab = window.open(address.href);
    if (tab) pages.add(tab);
    else say("The browser blocked the tab; allow pop-ups for this page and press the button again.");
  };
  place.append(frame, open);
  pages.add(frame.contentWindow);
}
