//! Judged pictures to a table.

use std::fmt::Write as _;

use serde_json::Value;

use crate::method::Scored;

/// The rows of the table: which numbers of people.
const SIZES: [(&str, usize, usize); 4] =
    [("1", 1, 1), ("2 to 5", 2, 5), ("6 to 8", 6, 8), ("all", 1, 8)];

/// A number of things that are so, of how many.
#[derive(Default)]
struct Part {
    so: usize,
    of: usize,
}

impl Part {
    fn add(&mut self, so: bool) {
        self.so += usize::from(so);
        self.of += 1;
    }

    fn percent(&self) -> String {
        if self.of == 0 {
            "-".to_owned()
        } else {
            format!("{:.1} %", 100.0 * real(self.so) / real(self.of))
        }
    }
}

/// Markdown: each method at each size of group.
pub(crate) fn table(rows: &[(&str, Vec<Scored>)]) -> String {
    let mut out = String::from(
        "| method | people | pictures | count right | noun | skin tone | gender | all right | strangers | tone TV | flips | passes | seconds |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for (method, scored) in rows {
        for (size, least, most) in SIZES {
            let those: Vec<&Scored> =
                scored.iter().filter(|it| (least..=most).contains(&it.people)).collect();
            if !those.is_empty() {
                line(&mut out, method, size, &those);
            }
        }
    }
    out
}

fn line(out: &mut String, method: &str, size: &str, those: &[&Scored]) {
    let [mut count, mut all, mut flips] = [(); 3].map(|()| Part::default());
    let mut of = [(); 3].map(|()| Part::default());
    let (mut strangers, mut passes) = (0, 0);
    let mut seconds = Vec::new();
    let mut tones: Vec<(String, f64, usize)> = Vec::new();
    let mut told = 0;
    for it in those {
        let subjects = it.audit["subjects"].as_array().unwrap();
        let beside = it.audit["strangers"].as_array().map_or(0, Vec::len);
        strangers += beside;
        passes += it.passes;
        seconds.extend(it.seconds);
        count.add(beside == 0 && subjects.iter().all(|it| it["presence"] == "one"));
        for subject in subjects {
            let readings =
                [&subject["noun"], value(subject, "skin tone"), value(subject, "gender")];
            for (part, reading) in of.iter_mut().zip(readings) {
                // What a drawing hides is neither right nor wrong.
                if !reading.is_null() && reading["verdict"] != "not_visible" {
                    part.add(reading["verdict"] == "right");
                }
            }
            let good = |it: &&Value| {
                it.is_null() || it["verdict"] == "right" || it["verdict"] == "not_visible"
            };
            all.add(subject["presence"] == "one" && readings.iter().all(good));
        }
        count_tones(it, &mut tones, &mut told);
        if let Some((before, changed)) = &it.before {
            for (old, new) in before["subjects"].as_array().unwrap().iter().zip(subjects) {
                if old["id"] != **changed && old["presence"] == "one" {
                    flips.add(value(old, "skin tone")["found"] != value(new, "skin tone")["found"]);
                }
            }
        }
    }
    let wanted: f64 = tones.iter().map(|(_, target, _)| target).sum();
    let off = |(_, target, found): &(String, f64, usize)| {
        (real(*found) / real(told) - target / wanted).abs()
    };
    let variation = if told == 0 {
        "-".to_owned()
    } else {
        format!("{:.3}", tones.iter().map(off).sum::<f64>() / 2.0)
    };
    let mean = |values: &[f64]| {
        if values.is_empty() {
            "-".to_owned()
        } else {
            format!("{:.1}", values.iter().sum::<f64>() / real(values.len()))
        }
    };
    // Writing to a string can't fail.
    let _written = writeln!(
        out,
        "| {method} | {size} | {} | {} | {} | {} | {} | {} | {strangers} | {variation} | {} | {:.1} | {} |",
        those.len(),
        count.percent(),
        of[0].percent(),
        of[1].percent(),
        of[2].percent(),
        all.percent(),
        flips.percent(),
        real(passes) / real(those.len()),
        mean(&seconds),
    );
}

/// Adds the skin tones that were wanted of a picture, and those that were found.
fn count_tones(it: &Scored, tones: &mut Vec<(String, f64, usize)>, told: &mut usize) {
    let axes = it.layout["plan"]["axes"].as_array().unwrap();
    let tallies = axes.iter().filter(|axis| axis["axis"] == "skin tone");
    for tally in tallies.flat_map(|axis| axis["cells"][0]["tallies"].as_array().unwrap()) {
        let name = tally["value"].as_str().unwrap();
        let at = tones.iter().position(|(known, ..)| known == name).unwrap_or_else(|| {
            tones.push((name.to_owned(), 0.0, 0));
            tones.len() - 1
        });
        tones[at].1 += tally["target"].as_f64().unwrap();
    }
    for subject in it.audit["subjects"].as_array().unwrap() {
        let Some(found) = value(subject, "skin tone")["found"].as_str() else { continue };
        *told += 1;
        if let Some((.., count)) = tones.iter_mut().find(|(known, ..)| known == found) {
            *count += 1;
        }
    }
}

fn value<'a>(subject: &'a Value, axis: &str) -> &'a Value {
    let values = subject["values"].as_array().unwrap();
    values.iter().find(|it| it["axis"] == axis).unwrap_or(&Value::Null)
}

#[expect(clippy::cast_precision_loss, reason = "numbers of people")]
fn real(count: usize) -> f64 {
    count as f64
}
