#!/usr/bin/env python3
"""Joins pictures side by side into one PNG, each with its caption below.

    contact_sheet.py --out SHEET.png PICTURE.png "caption|second line" [PICTURE.png "caption"]...
"""

import argparse
import sys

from PIL import Image, ImageDraw, ImageFont

MARGIN = 12
LINE_HEIGHT = 18


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="PNG to write")
    parser.add_argument("items", nargs="+", help="picture and caption in turn; | starts a new line of the caption")
    options = parser.parse_args()
    if len(options.items) % 2:
        parser.error("every picture needs a caption")

    pictures = [Image.open(path).convert("RGB") for path in options.items[::2]]
    captions = [caption.split("|") for caption in options.items[1::2]]
    font = ImageFont.load_default(size=14)
    width = sum(picture.width for picture in pictures) + MARGIN * (len(pictures) + 1)
    lines = max(len(caption) for caption in captions)
    height = max(picture.height for picture in pictures) + 3 * MARGIN + lines * LINE_HEIGHT
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    left = MARGIN
    for picture, caption in zip(pictures, captions):
        sheet.paste(picture, (left, MARGIN))
        for number, line in enumerate(caption):
            draw.text((left, picture.height + 2 * MARGIN + number * LINE_HEIGHT), line, fill="black", font=font)
        left += picture.width + MARGIN
    sheet.save(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
