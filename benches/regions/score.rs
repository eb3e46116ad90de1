//! Judged pictures to a table.

use std::fmt::Write as _;

use troupe_pipeline::core::audit::{Reading, SubjectAudit, Verdict};

use crate::method::Scored;

/// The rows of the table: which numbers of people.
const SIZES: [(&str, usize, usize); 4] =
    [("1", 1, 1), ("2 to 5", 2, 5), ("6 to 8", 6, 8), ("all", 1, 8)];

/// The axis whose shares are held against what is found.
const TONE: &str = "skin tone";

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
    for (method, scored) in rows {
        found(&mut out, method, scored);
    }
    out
}

/// What was wanted and found on the axis, of all pictures of a method together.
fn found(out: &mut String, method: &str, scored: &[Scored]) {
    let (mut tones, mut told) = (Vec::new(), 0);
    for it in scored {
        count_tones(it, &mut tones, &mut told);
    }
    let wanted: f64 = tones.iter().map(|(_, target, _)| target).sum();
    let each = tones.iter().map(|(tone, target, count)| {
        let [wanted, found] = [target / wanted, real(*count) / real(told.max(1))];
        format!("{tone} {:.0} % of {:.0} %", 100.0 * found, 100.0 * wanted)
    });
    let each: Vec<String> = each.collect();
    // Writing to a string can't fail.
    let _written = writeln!(out, "\n{method}: {TONE} of {told} people told: {}", each.join(", "));
}

fn line(out: &mut String, method: &str, size: &str, those: &[&Scored]) {
    let [mut count, mut all, mut flips] = [(); 3].map(|()| Part::default());
    let mut of = [(); 3].map(|()| Part::default());
    let (mut strangers, mut passes) = (0, 0);
    let mut seconds = Vec::new();
    let mut tones: Vec<(String, f64, usize)> = Vec::new();
    let mut told = 0;
    for it in those {
        strangers += it.audit.strangers.len();
        passes += it.passes;
        seconds.extend(it.seconds);
        count.add(it.audit.count_is_right());
        for subject in &it.audit.subjects {
            let readings = [subject.noun.as_ref(), on(subject, TONE), on(subject, "gender")];
            for (part, reading) in of.iter_mut().zip(readings) {
                // What a drawing hides is neither right nor wrong.
                if let Some(reading) = reading.filter(|it| it.verdict != Verdict::NotVisible) {
                    part.add(reading.verdict == Verdict::Right);
                }
            }
            all.add(subject.is_right());
        }
        count_tones(it, &mut tones, &mut told);
        if let Some((before, changed)) = &it.before {
            for (old, new) in before.subjects.iter().zip(&it.audit.subjects) {
                let found = |it| on(it, TONE).and_then(|reading| reading.found.clone());
                if old.id != *changed
                    && let (Some(old), Some(new)) = (found(old), found(new))
                {
                    flips.add(old != new);
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
    let tallies = axes.iter().filter(|axis| axis["axis"] == TONE);
    for tally in tallies.flat_map(|axis| axis["cells"][0]["tallies"].as_array().unwrap()) {
        let name = tally["value"].as_str().unwrap();
        let at = tones.iter().position(|(known, ..)| known == name).unwrap_or_else(|| {
            tones.push((name.to_owned(), 0.0, 0));
            tones.len() - 1
        });
        tones[at].1 += tally["target"].as_f64().unwrap();
    }
    for subject in &it.audit.subjects {
        let Some(found) = on(subject, TONE).and_then(|reading| reading.found.as_ref()) else {
            continue;
        };
        *told += 1;
        let at = tones.iter().position(|(known, ..)| known == found).unwrap_or_else(|| {
            tones.push((found.clone(), 0.0, 0));
            tones.len() - 1
        });
        tones[at].2 += 1;
    }
}

fn on<'a>(subject: &'a SubjectAudit, axis: &str) -> Option<&'a Reading> {
    let value = subject.values.iter().find(|value| value.axis == axis)?;
    Some(&value.reading)
}

#[expect(clippy::cast_precision_loss, reason = "numbers of people")]
fn real(count: usize) -> f64 {
    count as f64
}
