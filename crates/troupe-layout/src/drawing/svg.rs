//! The sheet as SVG.

use std::fmt::Write as _;

use troupe_core::layout::Layout;

use crate::drawing::{BACKGROUND, INK, Letters, Sheet};

/// A layout as an SVG document: boxes from back to front, each with its sub-prompt as its title.
pub fn svg(layout: &Layout) -> String {
    let sheet = Sheet::new(layout);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {w} {h}\" \
         font-family=\"monospace\" font-size=\"{size}\" fill=\"{ink}\">\n\
         <rect width=\"{w}\" height=\"{h}\" fill=\"#ffffff\"/>\n\
         <rect width=\"{w}\" height=\"{picture}\" fill=\"{background}\"/>\n",
        w = sheet.width,
        h = sheet.height,
        picture = sheet.picture_height,
        size = sheet.letters.line(),
        ink = hex(INK),
        background = hex(BACKGROUND),
    );
    for figure in &sheet.figures {
        let (width, height) = (figure.right - figure.left, figure.bottom - figure.top);
        out.push_str("<g>\n");
        append(&mut out, format_args!("<title>{}</title>\n", escape(&figure.title)));
        append(
            &mut out,
            format_args!(
                "<rect x=\"{}\" y=\"{}\" width=\"{width}\" height=\"{height}\" fill=\"{}\" \
                 stroke=\"{}\" stroke-width=\"{}\"/>\n",
                figure.left,
                figure.top,
                hex(figure.fill),
                hex(figure.stroke),
                sheet.letters.dot
            ),
        );
        text(&mut out, sheet.letters, figure.left, figure.top, &figure.lines);
        out.push_str("</g>\n");
    }
    text(&mut out, sheet.letters, 0, sheet.picture_height, &sheet.caption);
    out.push_str("</svg>\n");
    out
}

/// Writes lines whose corner is at `(left, top)`, each letter as wide as on the preview.
fn text(out: &mut String, letters: Letters, left: u32, top: u32, lines: &[String]) {
    let x = left + letters.padding();
    let mut baseline = top + letters.padding() + letters.advance();
    for line in lines {
        let width: u32 = line.chars().map(|_| letters.advance()).sum();
        let line = escape(line);
        append(
            out,
            format_args!(
                "<text x=\"{x}\" y=\"{baseline}\" textLength=\"{width}\" \
                 lengthAdjust=\"spacingAndGlyphs\">{line}</text>\n"
            ),
        );
        baseline += letters.line();
    }
}

/// Writing into a string can't fail.
fn append(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _: std::fmt::Result = out.write_fmt(text);
}

fn hex([red, green, blue]: [u8; 3]) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// Text as XML 1.0 may hold it.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            other if other.is_control() => out.push(' '),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_prompt_becomes_markup() {
        assert_eq!(
            escape("a <b> & \"c\"\u{0}\n\u{ffff}é"),
            "a &lt;b&gt; &amp; &quot;c&quot;  \u{fffd}é"
        );
    }
}
