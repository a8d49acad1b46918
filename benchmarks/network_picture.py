"""The picture of the network on the Layers page: time of its layout, and of frames while it is zoomed and dragged.

ours    headless Chromium without a graphics card; synthetic networks of residual blocks with side branches and long
        skips, with all blocks open; only the component's script, at 1280 x 800 and a pixel ratio of 2
frames  the pointer drags by a few pixels in each frame, at three zooms. A frame's time is from one animation frame to
        the next; `paint` is the part of it in which the picture is drawn
limit   60 frames a second, 16.7 ms
"""

import json
import random
import shutil
from typing import Any

from playwright.sync_api import sync_playwright

from benchmarks.dropped_image import FLAGS
from qviz.features.layer_error.graph import fold
from qviz.features.layer_error.outliers import Outliers
from qviz.features.layer_error.picture import network_picture
from qviz.structures import Graph, Op, Tensor
from qviz.ui.network import HERE, SCRIPTS

SIZES = (400, 2000)
FRAMES = 90

MEASURE = """async (frames) => {
  const v = document.querySelector('.qviz-network').qviz, out = [];
  for (const zoom of [1, 3, 12]) {
    moveToForBenchmark(v, zoom);
    const times = [], paints = [];
    let last = null;
    for (let i = 0; i < frames; i += 1) {
      const now = await new Promise(requestAnimationFrame);
      if (last !== null) times.push(now - last);
      last = now;
      paints.push(v.paintMs);
      panForBenchmark(v, i % 2 ? 7 : -5);
    }
    times.sort((a, b) => a - b);
    paints.sort((a, b) => a - b);
    const at = (list, share) => list[Math.floor((list.length - 1) * share)];
    out.push([zoom, 1000 / at(times, 0.5), at(times, 0.95), at(paints, 0.5)]);
  }
  return out;
}"""


def synthetic(count: int) -> Graph:
    """Residual blocks of seven operators. Each ninth block has a side branch; each twelfth reads a much earlier one."""
    draw = random.Random(0)
    ops: list[Op] = []
    kinds = ("CONV_2D", "LOGISTIC", "MUL", "DEPTHWISE_CONV_2D", "LOGISTIC", "MUL", "ADD")
    source, ends = 0, [0]
    while len(ops) < count:
        first, block = source, len(ends)
        for kind in kinds:
            reads = (source, first) if kind == "ADD" else (source, max(source - 1, 0)) if kind == "MUL" else (source,)
            ops.append(Op(len(ops), kind, reads, (len(ops) + 1,)))
            source = len(ops)
        if block % 12 == 0:
            ops.append(Op(len(ops), "CONCATENATION", (source, draw.choice(ends)), (len(ops) + 1,)))
            source = len(ops)
        if block % 9 == 0:
            ops.append(Op(len(ops), "CONV_2D", (source,), (len(ops) + 1,)))
        ends.append(source)
    tensors = tuple(
        Tensor(i, f"network/block_{i // 7}/t{i}", (1, 8, 8, 8), "int8", None, False) for i in range(len(ops) + 1)
    )
    return Graph(tensors, tuple(ops), (0,), (source,))


def document(graph: Graph) -> str:
    """The HTML of a page that contains only the component."""
    picture = network_picture(graph, (), Outliers(frozenset(), frozenset()))
    draw = random.Random(1)
    for row in picture["ops"]:
        row |= {"measured": True, "values": [draw.uniform(0, 45), draw.uniform(20, 45)]}
    data = {**picture, "rev": "1", "key": "1", "chosen": picture["ops"][9]["order"], "selected": [], "at": 0}
    script = "\n".join(path.read_text(encoding="utf-8") for path in SCRIPTS).replace(
        "export default function", "window.entry = function"
    )
    css = (HERE / "network.css").read_text(encoding="utf-8")
    return f"""<!doctype html><meta charset="utf-8"><style>{css}</style>
<div id="host"><div class="qviz-network"></div></div>
<script type="module">{script}
window.panForBenchmark = (v, by) => moveTo(v, {{ s: v.camera.s, x: v.camera.x + by, y: v.camera.y + by / 2 }});
window.moveToForBenchmark = (v, zoom) => {{ moveTo(v, v.fit); zoomAt(v, zoom); }};
window.layoutForBenchmark = (v) => {{ const start = performance.now(); prepare(v.net);
  arrange(v.net, new Set(v.net.blocks.keys()), v.size.w, v.size.h); return performance.now() - start; }};
entry({{ data: {json.dumps(data)}, parentElement: document.getElementById("host"), setStateValue: () => {{}} }});
const v = document.querySelector(".qviz-network").qviz;
v.memory.open = new Set(v.net.blocks.keys());
relayout(v);
window.ready = true;
</script>"""


def measure(browser: Any, count: int) -> None:
    graph = synthetic(count)
    page = browser.new_page(viewport={"width": 1280, "height": 800}, device_scale_factor=2)
    page.set_content(document(graph))
    page.wait_for_function("() => window.ready")
    layout = page.evaluate("() => layoutForBenchmark(document.querySelector('.qviz-network').qviz)")
    print(f"{len(graph.ops)} operators, {len(fold(graph).members)} blocks: layout {layout:.0f} ms")
    for zoom, rate, slow, paint in page.evaluate(MEASURE, FRAMES):
        print(
            f"  zoom {zoom:2}: {rate:3.0f} frames/s, 95% of frames within {slow:.1f} ms, paint {paint:.1f} ms   goal 60"
        )
    page.close()


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("no Chromium is installed (Debian: apt-get install chromium)")
        return
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for count in SIZES:
            measure(browser, count)
        browser.close()


if __name__ == "__main__":
    main()
