//! Judged pictures to tables.

use std::fmt::Write as _;

use troupe_pipeline::core::audit::{Audit, Reading};
use troupe_pipeline::{AxisMeasured, Measured, Tallies};

use crate::method::Scored;

/// The rows of the table: which numbers of people.
const SIZES: [(&str, usize, usize); 4] =
    [("1", 1, 1), ("2 to 5", 2, 5), ("6 to 8", 6, 8), ("all", 1, 8)];

/// The axis whose shares are held against what is found.
const TONE: &str = "skin tone";

/// Markdown: each method at each size of group, and the tones that were found.
pub(crate) fn table(rows: &[(&str, Vec<Scored>)]) -> String {
    let mut out = String::from(
        "| method | people | pictures | count right | noun | skin tone | gender | all right | strangers | tone TV | flips | passes | seconds |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    let mut found = String::new();
    for (method, scored) in rows {
        for (size, least, most) in SIZES {
            let group = |it: &&Scored| (least..=most).contains(&it.layout.subjects.len());
            let those: Vec<&Scored> = scored.iter().filter(group).collect();
            if !those.is_empty() {
                line(&mut out, method, size, &those);
            }
        }
        tones(&mut found, method, &measured(&scored.iter().collect::<Vec<_>>()));
    }
    out + &found
}

fn measured(those: &[&Scored]) -> Measured {
    let mut tallies = Tallies::default();
    for it in those {
        tallies.add(&it.layout.plan, &it.audit);
    }
    tallies.measured()
}

fn axis<'a>(measured: &'a Measured, name: &str) -> Option<&'a AxisMeasured> {
    measured.axes.iter().find(|it| it.axis == name)
}

fn line(out: &mut String, method: &str, size: &str, those: &[&Scored]) {
    let measured = measured(those);
    let accuracy =
        |name: &str| percent(axis(&measured, name).and_then(|it| it.verdicts.accuracy()));
    let variation = axis(&measured, TONE).and_then(|it| it.total_variation);
    let passes: usize = those.iter().map(|it| it.passes).sum();
    let seconds: Vec<f64> = those.iter().filter_map(|it| it.seconds).collect();
    let flips: Vec<bool> = those.iter().flat_map(|it| flips(it)).collect();
    let part = |so: usize, of: usize| (0 < of).then(|| real(so) / real(of));
    // Writing to a string can't fail.
    let _written = writeln!(
        out,
        "| {method} | {size} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {:.1} | {} |",
        measured.pictures,
        percent(part(count(measured.pictures_of_right_count), those.len())),
        percent(measured.nouns.accuracy()),
        accuracy(TONE),
        accuracy("gender"),
        percent(part(count(measured.people_right), count(measured.people))),
        measured.strangers,
        variation.map_or("-".to_owned(), |it| format!("{it:.3}")),
        flipped(&flips),
        real(passes) / real(those.len()),
        part(1, seconds.len())
            .map_or("-".to_owned(), |each| format!("{:.1}", seconds.iter().sum::<f64>() * each)),
    );
}

/// Whether the tone of each other person changed, of those whose tone was told before and after.
fn flips(it: &Scored) -> Vec<bool> {
    let Some((before, changed)) = &it.before else { return Vec::new() };
    let others = before.subjects.iter().zip(&it.audit.subjects).filter(|(it, _)| it.id != *changed);
    let told = |audit: &Audit, id: &str| {
        let subject = audit.subjects.iter().find(|it| it.id == id)?;
        let value = subject.values.iter().find(|value| value.axis == TONE)?;
        let Reading { found, .. } = &value.reading;
        found.clone()
    };
    others
        .filter_map(|(old, new)| Some(told(before, &old.id)? != told(&it.audit, &new.id)?))
        .collect()
}

/// What was wanted and found on the axis, of all pictures of a method together.
fn tones(out: &mut String, method: &str, measured: &Measured) {
    let Some(axis) = axis(measured, TONE) else { return };
    let told: u64 = axis.others + axis.values.iter().map(|it| it.found).sum::<u64>();
    let each = axis.values.iter().map(|it| {
        let found = it.found_share.unwrap_or_default();
        format!("{} {:.0} % of {:.0} %", it.value, 100.0 * found, 100.0 * it.share)
    });
    let each: Vec<String> = each.collect();
    // Writing to a string can't fail.
    let _written = writeln!(out, "\n{method}: {TONE} of {told} people told: {}", each.join(", "));
}

/// How many of so many.
fn flipped(flips: &[bool]) -> String {
    let so = flips.iter().filter(|flip| **flip).count();
    if flips.is_empty() {
        return "-".to_owned();
    }
    format!("{:.1} % of {}", 100.0 * real(so) / real(flips.len()), flips.len())
}

fn percent(part: Option<f64>) -> String {
    part.map_or("-".to_owned(), |it| format!("{:.1} %", 100.0 * it))
}

fn count(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

#[expect(clippy::cast_precision_loss, reason = "numbers of people")]
fn real(count: usize) -> f64 {
    count as f64
}
