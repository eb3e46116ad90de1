//! A layout as a picture for people: boxes from back to front, with names, order and sub-prompts.
//!
//! Both renderings are made from one `Sheet`, so they show the same. Boxes are opaque: what is
//! seen of one is what its subject owns. Letters sit in cells of 8 × 8 dots, so a line's width is
//! known without measuring.

mod preview;
mod svg;

use troupe_core::layout::Layout;

pub use preview::preview;
pub use svg::svg;

/// One colour for each of twelve people: pale enough for dark letters, and no two alike.
const COLOURS: [[u8; 3]; 12] = [
    [255, 198, 178],
    [178, 216, 255],
    [190, 232, 178],
    [255, 226, 148],
    [222, 196, 250],
    [168, 232, 226],
    [255, 190, 222],
    [216, 222, 150],
    [200, 204, 255],
    [238, 208, 170],
    [186, 226, 202],
    [228, 212, 220],
];

const BACKGROUND: [u8; 3] = [246, 246, 242];
const INK: [u8; 3] = [32, 32, 40];

/// The longer side of the picture on a sheet, at least; larger ones are drawn at their own size.
const LONGER_SIDE: u32 = 1024;

/// A dot of a letter is a dot of the sheet for each so many of its longer side, begun ones too.
const SIDE_PER_DOT: u32 = 640;

/// Lines of the caption, at most.
const CAPTION_LINES: usize = 3;

/// Everything that is drawn, in dots of the sheet.
struct Sheet {
    width: u32,
    /// Of the picture alone; the caption stands below it.
    picture_height: u32,
    height: u32,
    letters: Letters,
    /// From back to front.
    figures: Vec<Figure>,
    caption: Vec<String>,
}

/// One box.
struct Figure {
    left: u32,
    top: u32,
    right: u32,
    bottom: u32,
    fill: [u8; 3],
    stroke: [u8; 3],
    lines: Vec<String>,
    /// What doesn't fit the lines: the whole sub-prompt.
    title: String,
}

/// How large the letters are.
#[derive(Clone, Copy)]
struct Letters {
    /// Dots of the sheet for one dot of a letter.
    dot: u32,
}

impl Letters {
    fn advance(self) -> u32 {
        8 * self.dot
    }

    fn line(self) -> u32 {
        10 * self.dot
    }

    /// Room between an edge and a letter.
    fn padding(self) -> u32 {
        4 * self.dot
    }

    /// How many letters fit next to one another.
    fn across(self, width: u32) -> usize {
        whole(width.saturating_sub(2 * self.padding()), self.advance())
    }

    /// How many lines fit below one another.
    fn down(self, height: u32) -> usize {
        whole(height.saturating_sub(2 * self.padding()), self.line())
    }
}

/// How often `part` goes into `all`.
#[expect(clippy::integer_division, reason = "half a letter isn't drawn")]
fn whole(all: u32, part: u32) -> usize {
    (all / part) as usize
}

impl Sheet {
    fn new(layout: &Layout) -> Self {
        let (width, height) = (layout.canvas.width(), layout.canvas.height());
        let scale = LONGER_SIDE.div_ceil(width.max(height));
        let (width, picture_height) = (width * scale, height * scale);
        let letters = Letters { dot: width.max(picture_height).div_ceil(SIDE_PER_DOT) };

        let mut order: Vec<usize> = (0..layout.subjects.len()).collect();
        order.sort_by_key(|&subject| (layout.subjects[subject].depth, subject));
        let mut figures: Vec<Figure> = order
            .iter()
            .map(|&subject| Figure::new(layout, subject, width, picture_height))
            .collect();
        for (place, &subject) in order.iter().enumerate() {
            let ([.., figure], in_front) = figures.split_at_mut(place + 1) else { continue };
            figure.write(layout, place, subject, in_front, letters);
        }

        let caption = format!(
            "{}x{}, {} people, base prompt: {}",
            layout.canvas.width(),
            layout.canvas.height(),
            layout.subjects.len(),
            layout.base_prompt
        );
        let mut lines = wrap(&caption, letters.across(width));
        shorten(&mut lines, CAPTION_LINES, letters.across(width));
        // Two paddings and at most three lines.
        let below: u32 = 2 * letters.padding() + lines.iter().map(|_| letters.line()).sum::<u32>();
        let height = picture_height + below;
        Self { width, picture_height, height, letters, figures, caption: lines }
    }
}

impl Figure {
    fn new(layout: &Layout, subject: usize, width: u32, height: u32) -> Self {
        let placement = &layout.subjects[subject];
        let edges = placement.bounds.edges();
        let fill = COLOURS[subject % COLOURS.len()];
        Self {
            left: dots(edges.left, width),
            top: dots(edges.top, height),
            right: dots(edges.right, width),
            bottom: dots(edges.bottom, height),
            fill,
            stroke: fill.map(|it| it - it.div_ceil(2)),
            lines: Vec::new(),
            title: format!("{}: {}", placement.id, placement.sub_prompt),
        }
    }

    /// Fills in the lines that fit above the boxes in front.
    fn write(
        &mut self,
        layout: &Layout,
        place: usize,
        subject: usize,
        in_front: &[Self],
        letters: Letters,
    ) {
        let hidden = in_front
            .iter()
            .filter(|it| it.left < self.right && self.left < it.right && self.top < it.bottom)
            .map(|it| it.top.max(self.top))
            .min();
        let bottom = hidden.map_or(self.bottom, |it| it.min(self.bottom));
        let (across, down) =
            (letters.across(self.right - self.left), letters.down(bottom - self.top));

        let placement = &layout.subjects[subject];
        let noun = layout.plan.subjects.get(subject).map_or("", |it| it.noun.as_str());
        self.lines = wrap(&format!("#{} {}", place + 1, placement.id), across);
        self.lines.extend(wrap(noun, across));
        self.lines.extend(wrap(&format!("depth {}", placement.depth), across));
        self.lines.extend(wrap(&placement.sub_prompt, across));
        shorten(&mut self.lines, down, across);
    }
}

/// A share of a side in dots, to the nearest.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a u32")]
fn dots(share: f64, side: u32) -> u32 {
    (share * f64::from(side)).round() as u32
}

/// Breaks a text into lines of at most `across` letters, at spaces where it can.
fn wrap(text: &str, across: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    if across == 0 {
        return lines;
    }
    for word in text.split(|letter: char| letter.is_whitespace() || letter.is_control()) {
        let letters: Vec<char> = word.chars().collect();
        for (index, piece) in letters.chunks(across).enumerate() {
            let piece: String = piece.iter().collect();
            match lines.last_mut() {
                Some(line) if index == 0 && count(line) + 1 + count(&piece) <= across => {
                    line.push(' ');
                    line.push_str(&piece);
                }
                Some(_) | None => lines.push(piece),
            }
        }
    }
    lines
}

/// Keeps the first lines, and says with two dots where something is missing.
fn shorten(lines: &mut Vec<String>, most: usize, across: usize) {
    if lines.len() <= most {
        return;
    }
    lines.truncate(most);
    if let Some(last) = lines.last_mut() {
        *last =
            last.chars().take(across.saturating_sub(2)).chain("..".chars().take(across)).collect();
    }
}

fn count(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, across: usize, expected: &[&str]) {
        assert_eq!(wrap(text, across), expected);
    }

    #[test]
    fn lines_break_at_spaces_and_long_words_anywhere() {
        check("a chef, dark skin", 8, &["a chef,", "dark", "skin"]);
        check("firefighter", 5, &["firef", "ighte", "r"]);
        check("  a \n\u{7} b ", 8, &["a b"]);
        check("a", 0, &[]);
        check("", 8, &[]);
    }

    #[test]
    fn what_is_cut_ends_in_two_dots() {
        let mut lines = wrap("one two six ten", 5);
        shorten(&mut lines, 2, 5);
        assert_eq!(lines, ["one", "two.."]);
        shorten(&mut lines, 0, 5);
        assert!(lines.is_empty());
    }
}
