//! The sheet as pixels.

use font8x8::{BASIC_FONTS, LATIN_FONTS, UnicodeFonts};
use image::{Rgb, RgbImage};
use troupe_core::layout::Layout;

use crate::drawing::{BACKGROUND, INK, Letters, Sheet};

/// A layout as a picture: the canvas enlarged, boxes from back to front, the base prompt below.
///
/// Letters that the font of 8 × 8 dots lacks are drawn as question marks.
pub fn preview(layout: &Layout) -> RgbImage {
    let sheet = Sheet::new(layout);
    let mut picture = RgbImage::from_pixel(sheet.width, sheet.height, Rgb([255, 255, 255]));
    fill(&mut picture, [0, 0, sheet.width, sheet.picture_height], BACKGROUND);
    for figure in &sheet.figures {
        let (line, edges) =
            (sheet.letters.dot, [figure.left, figure.top, figure.right, figure.bottom]);
        let inside = [
            figure.left + line,
            figure.top + line,
            figure.right.saturating_sub(line),
            figure.bottom.saturating_sub(line),
        ];
        fill(&mut picture, edges, figure.stroke);
        fill(&mut picture, inside, figure.fill);
        write(&mut picture, sheet.letters, figure.left, figure.top, &figure.lines);
    }
    write(&mut picture, sheet.letters, 0, sheet.picture_height, &sheet.caption);
    picture
}

/// Fills from left and top to right and bottom, as far as the picture reaches.
fn fill(picture: &mut RgbImage, [left, top, right, bottom]: [u32; 4], colour: [u8; 3]) {
    for y in top..bottom.min(picture.height()) {
        for x in left..right.min(picture.width()) {
            picture.put_pixel(x, y, Rgb(colour));
        }
    }
}

/// Writes lines whose corner is at `(left, top)`.
fn write(picture: &mut RgbImage, letters: Letters, left: u32, top: u32, lines: &[String]) {
    let dot = letters.dot;
    let mut y = top + letters.padding();
    for line in lines {
        let mut x = left + letters.padding();
        for letter in line.chars() {
            for (row, bits) in (0_u32..).zip(glyph(letter)) {
                for column in (0..8_u32).filter(|column| bits >> column & 1 == 1) {
                    let (x, y) = (x + column * dot, y + row * dot);
                    fill(picture, [x, y, x + dot, y + dot], INK);
                }
            }
            x += letters.advance();
        }
        y += letters.line();
    }
}

/// Eight rows, top first; the lowest bit is the leftmost dot.
fn glyph(letter: char) -> [u8; 8] {
    let known = |letter| BASIC_FONTS.get(letter).or_else(|| LATIN_FONTS.get(letter));
    known(letter).or_else(|| known('?')).unwrap_or_default()
}
