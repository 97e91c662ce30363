#!/usr/bin/env python3
"""Records `kafkalab saga run --fail-at 2` on a terminal and draws what it was sent: docs/picture.svg, in the README.

    cargo build && dev/picture.py            draws it anew
    cargo build && dev/picture.py --check    exit 1 where the picture no longer shows what the program says

Ids, places and the folder differ from run to run, and two tell the story at once: --check compares the lines without those,
in any order.
"""

import argparse
import fcntl
import html
import os
import pathlib
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios

ROOT = pathlib.Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "picture.svg"
COMMAND = ["saga", "run", "--fail-at", "2"]
COLUMNS = 95
LIMIT = 60  # seconds

FONT, CELL, LINE, PAD = 13, 7.83, 19, 18
BACKGROUND, FOREGROUND = "#16181d", "#d4d7dd"
# The eight colours of a terminal, for a dark ground.
COLOURS = ["#5c6370", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#ffffff"]
ESCAPE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


def record(program):
    """What a terminal of COLUMNS is sent by a real run, on a broker and a store of its own."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("KAFKA", "RPK_", "NO_COLOR", "XDG_", "RUST_"))}
    with tempfile.TemporaryDirectory() as home:
        env = {**kept, "TERM": "xterm-256color", "HOME": home, "TMPDIR": "/tmp"}
        child = subprocess.Popen([program, *COMMAND], stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=env,
                                 cwd=home)
        os.close(theirs)
        sent = b""
        try:
            while piece := os.read(ours, 65536):
                sent += piece
        except OSError:  # Linux says so when the last one has closed a terminal
            pass
        os.close(ours)
        if code := child.wait(LIMIT):
            sys.exit(f"{program} {' '.join(COMMAND)}: exit {code}\n{sent.decode(errors='replace')}")
    return sent.decode().replace("\r\n", "\n")


def lines(sent):
    """Lines of (style, text), cut where the terminal goes on in the next line."""
    drawn, style = [[]], ""
    at = 0
    for text, code in pieces(sent):
        if code is not None:
            style = styled(style, code)
            continue
        for letter in text:
            if letter == "\n" or at == COLUMNS:
                drawn.append([])
                at = 0
            if letter == "\n":
                continue
            row = drawn[-1]
            if row and row[-1][0] == style:
                row[-1] = (style, row[-1][1] + letter)
            else:
                row.append((style, letter))
            at += 1
    while drawn and not drawn[-1]:
        drawn.pop()
    return drawn


def pieces(sent):
    """(text, None) and (None, the numbers of a colour); other sequences are left out."""
    end = 0
    for found in ESCAPE.finditer(sent):
        yield sent[end:found.start()], None
        if found[2] == "m":
            yield None, found[1]
        end = found.end()
    yield sent[end:], None


def styled(style, code):
    for number in (int(number or 0) for number in code.split(";")):
        if number == 0:
            style = ""
        elif number == 1:
            style += "font-weight:bold;"
        elif number == 2:
            style += "opacity:.65;"
        elif 30 <= number <= 37 or 90 <= number <= 97:
            style += f"fill:{COLOURS[number % 10]};"
        elif number == 39:
            style = re.sub("fill:[^;]*;", "", style)
        elif number == 22:
            style = re.sub("(font-weight|opacity):[^;]*;", "", style)
    return style


def svg(sent):
    typed = [("fill:#98c379;", "$ "), ("font-weight:bold;", f"kafkalab {' '.join(COMMAND)}")]
    rows = [typed, *lines(sent)]
    width, height = round(COLUMNS * CELL + 2 * PAD), len(rows) * LINE + 2 * PAD
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f"<title>kafkalab {' '.join(COMMAND)}</title>",
        f'<rect width="{width}" height="{height}" rx="8" fill="{BACKGROUND}"/>',
        f'<g xml:space="preserve" style="white-space:pre" font-size="{FONT}" fill="{FOREGROUND}" '
        'font-family="DejaVu Sans Mono,Menlo,Consolas,monospace">',
    ]
    for number, row in enumerate(rows):
        at, spans = 0, ""
        for style, text in row:
            # each word has its place: columns stay columns in whatever font there is
            for word in re.finditer(r"\S+( \S+)*", text):
                x = round(PAD + (at + word.start()) * CELL, 1)
                length = round(len(word[0]) * CELL, 1)
                look = f' style="{style}"' if style else ""
                spans += f'<tspan x="{x}" textLength="{length}"{look}>{html.escape(word[0], quote=False)}</tspan>'
            at += len(text)
        out.append(f'<text y="{PAD + number * LINE + FONT}">{spans}</text>')
    return "\n".join([*out, "</g>", "</svg>", ""])


def said(picture):
    """The lines of a picture, without what differs from run to run."""
    told = []
    for row in re.findall(r"<text[^>]*>(.*)</text>", picture):
        text = html.unescape(" ".join(re.findall(r"<tspan[^>]*>([^<]*)</tspan>", row)))
        text = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", text).split("[")[0]
        # shipping hears of the end, and need not have when the run is over; what comes before the story is this machine's
        if "saga-shipping" not in text:
            told.append(text)
    begin = next((number for number, text in enumerate(told) if text.startswith("saga ")), 1)
    return [told[0], *sorted(told[begin:])]


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--check", action="store_true", help="compare, and write nothing")
    options.add_argument("--kafkalab", default=ROOT / "target" / "debug" / "kafkalab", metavar="PATH", help="the program")
    options = options.parse_args()
    drawn = svg(record(str(options.kafkalab)))
    if not options.check:
        PICTURE.write_text(drawn)
        return
    kept = said(PICTURE.read_text())
    if kept != said(drawn):
        sys.exit("docs/picture.svg is not what the program says; `dev/picture.py` draws it anew\n"
                 f"drawn: {kept}\nsaid:  {said(drawn)}")


if __name__ == "__main__":
    main()
