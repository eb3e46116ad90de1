//! What was found in a picture or a run, for a person to read.

use troupe_audit::{AxisMeasured, Measured, PairMeasured, Verdicts};
use troupe_core::audit::{Audit, Presence, Reading, SubjectAudit, Unread, Verdict};

use super::line;

/// An audit as text.
pub fn audit(audit: &Audit) -> String {
    let mut out = String::new();
    line(&mut out, &format!("judge    {} [{}]", audit.judge.name, audit.judge.hash));
    for subject in &audit.subjects {
        line(&mut out, &of_subject(subject));
    }
    for stranger in &audit.strangers {
        let it = stranger.bounds.edges();
        let percent = |share: f64| (share * 100.0).round();
        line(
            &mut out,
            &format!(
                "stranger x {}..{} %, y {}..{} % (sure by {:.0} %)",
                percent(it.left),
                percent(it.right),
                percent(it.top),
                percent(it.bottom),
                stranger.confidence * 100.0
            ),
        );
    }
    unread(&mut out, &audit.unread);
    out
}

fn of_subject(subject: &SubjectAudit) -> String {
    let presence = match subject.presence {
        Presence::One => "there",
        Presence::Nobody => "nobody",
        Presence::More => "several",
        Presence::NotSure => "not sure",
    };
    let sure = subject.confidence * 100.0;
    let mut text = format!("{:<8} {presence} (sure by {sure:.0} %)", subject.id);
    let said = |name: &str, reading: &Reading, of: &[String]| {
        let planned = &reading.planned;
        match (reading.verdict, &reading.found) {
            (Verdict::Right, _) => Some(format!("{name} {planned}")),
            (Verdict::Wrong, found) => {
                let found = found.as_deref().unwrap_or("something else");
                let of = if of.is_empty() {
                    String::new()
                } else {
                    format!(" (planned of {})", of.join(", "))
                };
                Some(format!("{name} {planned} WRONG: {found}{of}"))
            }
            (Verdict::NotVisible, _) => Some(format!("{name} {planned} not visible")),
            (Verdict::NotSure, _) => Some(format!("{name} {planned} not sure")),
            (Verdict::Absent, _) => None,
        }
    };
    let noun = subject.noun.iter().filter_map(|reading| said("noun", reading, &[]));
    let values = subject.values.iter();
    let values = values.filter_map(|it| said(&it.axis, &it.reading, &it.planned_of));
    let parts: Vec<String> = noun.chain(values).collect();
    if !parts.is_empty() {
        text.push_str(": ");
        text.push_str(&parts.join("; "));
    }
    text
}

fn unread(out: &mut String, axes: &[Unread]) {
    for it in axes {
        line(out, &format!("unread   {}: {}", it.axis, it.why));
    }
}

/// The sums of a run as text.
pub fn measured(measured: &Measured) -> String {
    let mut out = String::new();
    for judge in &measured.judges {
        line(&mut out, &format!("judge    {} [{}]", judge.name, judge.hash));
    }
    let Measured { pictures, pictures_of_right_count: right, people, boxes, .. } = measured;
    line(&mut out, &format!("pictures {pictures}, {right} with everybody there and nobody else"));
    line(
        &mut out,
        &format!(
            "people   {people}: there {}, nobody {}, several {}, not sure {}; beside the boxes {}",
            boxes.one, boxes.nobody, boxes.more, boxes.not_sure, measured.strangers
        ),
    );
    line(&mut out, &format!("right    {} people, in everything", measured.people_right));
    if 0 < measured.nouns.all() {
        line(&mut out, &format!("noun     {}", verdicts(&measured.nouns)));
    }
    for it in &measured.axes {
        axis(&mut out, it);
    }
    for it in &measured.pairs {
        pair(&mut out, it);
    }
    unread(&mut out, &measured.unread);
    out
}

fn axis(out: &mut String, axis: &AxisMeasured) {
    line(out, &format!("\n{}: {}; leaked {}", axis.axis, verdicts(&axis.verdicts), axis.leaked));
    line(out, "  value                 wanted  planned   found");
    for value in &axis.values {
        let found =
            value.found_share.map_or(String::new(), |share| format!("  {:>5.1}%", share * 100.0));
        line(
            out,
            &format!(
                "  {:<20} {:>6.1}%  {:>7}  {:>6}{found}",
                value.value,
                value.share * 100.0,
                value.planned,
                value.found
            ),
        );
    }
    if 0 < axis.others {
        line(out, &format!("  {:<20} {:>7}  {:>7}  {:>6}", "(other)", "", "", axis.others));
    }
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |it| format!("{it:.3}"));
    line(
        out,
        &format!(
            "  total variation {} of those told, {} of all; KL {}; chi-squared p {}",
            number(axis.total_variation),
            number(axis.total_variation_of_all),
            number(axis.kullback_leibler),
            number(axis.chi_squared_p)
        ),
    );
    for it in &axis.confused {
        let leaked = if 0 < it.leaked { format!(", {} leaked", it.leaked) } else { String::new() };
        line(out, &format!("  {} painted for {}: {}{leaked}", it.found, it.planned, it.people));
    }
}

fn pair(out: &mut String, pair: &PairMeasured) {
    let variation = pair.total_variation.map_or("-".to_owned(), |it| format!("{it:.3}"));
    line(out, &format!("\n{} by {}: total variation {variation}", pair.axis, pair.given));
    for cell in &pair.cells {
        let both = format!("{}, {}", cell.given, cell.value);
        line(out, &format!("  {both:<28}  {:>7}  {:>6}", cell.planned, cell.found));
    }
}

fn verdicts(it: &Verdicts) -> String {
    let Verdicts { right, wrong, not_visible, not_sure, absent } = it;
    let accuracy = it.accuracy().map_or(String::new(), |it| format!(" ({:.1} %)", it * 100.0));
    format!(
        "right {right}{accuracy}, wrong {wrong}, not visible {not_visible}, not sure {not_sure}, not there {absent}"
    )
}
