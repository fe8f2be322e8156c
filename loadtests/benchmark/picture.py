"""Which figures of a run the chart shows, and in which words."""

from typing import Final

from loadtests.benchmark.chart import Bar, Group, draw
from loadtests.benchmark.contenders import Contender
from loadtests.benchmark.report import CEILINGS, Run
from loadtests.benchmark.rounds import Under

TITLE: Final = "Checking an access token: requests per second on one core"


def to_svg(run: Run) -> str:
    """Throughput at 32 connections, asked directly and behind nginx."""
    headings = {
        False: "asked directly · and its share of what nginx does with an empty answer",
        True: "asked by nginx auth_request on the same core · share of nginx answering itself",
    }
    groups = [
        Group(heading, [bar for one in run.contenders if (bar := _bar(run, one, behind_nginx=behind_nginx))])
        for behind_nginx, heading in headings.items()
    ]
    subtitle = (
        f"RS256, 1,000 distinct tokens, 32 kept-alive connections · median of {run.rounds} rounds, "
        "whiskers: lowest and highest"
    )
    footer = f"{run.machine['cpu']}, {run.machine['cores']} cores · make bench · ratios travel, absolutes do not"
    return draw(TITLE, subtitle, [group for group in groups if group.bars], footer)


def _bar(run: Run, contender: Contender, *, behind_nginx: bool) -> Bar | None:
    key = (contender.name, Under.FEW)
    found = run.figures.throughput(key)
    if found is None or contender.behind_nginx != behind_nginx:
        return None
    ratio = run.figures.ratio(key, (CEILINGS[behind_nginx], Under.FEW))
    note = f"{found.median / 1000:.1f} k" + (f" · {ratio.median:.0%}" if ratio else "")
    kind = "" if contender.verifies else "ceiling"
    if "verifier" in contender.name:
        kind = "ours"
    return Bar(contender.label, found.median, found.low, found.high, note, kind)
