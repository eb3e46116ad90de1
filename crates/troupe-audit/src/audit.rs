//! A picture and its layout to an audit: who is in each box, and whether anybody is beside them.

use std::cmp::Ordering;

use troupe_core::audit::{
    Audit, JudgedBy, Presence, Reading, Stranger, SubjectAudit, ValueAudit, Verdict,
};
use troupe_core::document::Document;
use troupe_core::layout::{Layout, Placement};
use troupe_core::plan::{ScenePlan, Subject};
use troupe_core::region::{BoundingBox, Edges, Placed};

use crate::AuditError;
use crate::judge::{Answer, Finding, Judge, Judgement, Picture};
use crate::reading::Reader;

/// The part of a window that boxes may cover.
const COVERED: f64 = 0.4;
/// The most windows that are looked into, in each direction.
const MOST_WINDOWS: usize = 40;
/// How sure a judge must be that one person, or that several, are where nobody was planned. Of 96 drawn scenes of two to six
/// people the first judge then sees somebody too many in 4, and misses 6 of 96 people who stand in no box; at 0.5 it is 15
/// and 3.
const SURE: f32 = 0.95;
/// What a judge sees beyond the edge of a picture.
const GREY: u8 = 128;
/// The part of a window that another shares, from which on who is in them is the same person.
const SAME: f64 = 0.2;

/// Judges every box of a layout, and what lies between them; `hash` is the SHA-256 of the picture's file.
///
/// # Errors
///
/// If the tensor library fails.
pub fn audit(
    judge: &Judge,
    by: JudgedBy,
    (picture, hash): (&Picture<'_>, &str),
    layout: &Layout,
) -> Result<Audit, AuditError> {
    let plan = &layout.plan;
    let reader = judge.reader(plan);
    let placed = |it: &Placement| Placed { bounds: it.bounds, depth: it.depth };
    let placed: Vec<Placed> = layout.subjects.iter().map(placed).collect();
    let judgements = judge.judge(picture, &placed, plan, &reader)?;
    let seen = plan.subjects.iter().zip(&judgements);
    let subjects = seen.map(|(subject, judged)| of_subject(&reader, plan, subject, judged));
    let boxes: Vec<BoundingBox> = placed.iter().map(|it| it.bounds).collect();
    Ok(Audit {
        schema: Audit::SCHEMA.to_owned(),
        picture: hash.to_owned(),
        judge: by,
        subjects: subjects.collect(),
        strangers: strangers(judge, picture, &boxes)?,
        unread: reader.unread,
        tries: Vec::new(),
    })
}

fn of_subject(
    reader: &Reader<'_>,
    plan: &ScenePlan,
    subject: &Subject,
    judged: &Judgement,
) -> SubjectAudit {
    let finding =
        |attribute: &str| judged.attributes.iter().find(|finding| finding.attribute == attribute);
    let alone = judged.presence == Presence::One;
    let noun = reader.noun(&subject.noun).and_then(|attribute| {
        let word = |judged: &str| {
            if judged.eq_ignore_ascii_case(&subject.noun) {
                subject.noun.clone()
            } else {
                judged.to_owned()
            }
        };
        Some(reading(&subject.noun, finding(attribute)?, alone, word))
    });
    let values = subject.values.iter().filter_map(|assigned| {
        let axis = reader.axis(&assigned.axis)?;
        let word = |judged: &str| axis.value_of(judged).unwrap_or(judged).to_owned();
        let reading = reading(&assigned.value, finding(axis.attribute)?, alone, word);
        let planned_of = match &reading {
            Reading { verdict: Verdict::Wrong, found: Some(found), .. } => {
                planned_of(plan, &subject.id, &assigned.axis, found)
            }
            _ => Vec::new(),
        };
        Some(ValueAudit { axis: assigned.axis.clone(), reading, planned_of })
    });
    SubjectAudit {
        id: subject.id.clone(),
        presence: judged.presence,
        confidence: judged.confidence,
        noun,
        values: values.collect(),
    }
}

/// Compares a finding with what was planned; `word` is the plan's word for the judge's.
fn reading(
    planned: &str,
    finding: &Finding,
    alone: bool,
    word: impl Fn(&str) -> String,
) -> Reading {
    let (verdict, found) = match &finding.answer {
        _ if !alone => (Verdict::Absent, None),
        Answer::NotVisible => (Verdict::NotVisible, None),
        Answer::NotSure => (Verdict::NotSure, None),
        Answer::Value(judged) => {
            let found = word(judged);
            let right = found == planned;
            (if right { Verdict::Right } else { Verdict::Wrong }, Some(found))
        }
    };
    Reading { planned: planned.to_owned(), verdict, found, confidence: finding.confidence }
}

/// The subjects other than `id` of whom a value was planned.
fn planned_of(plan: &ScenePlan, id: &str, axis: &str, value: &str) -> Vec<String> {
    let has = |it: &&Subject| it.values.iter().any(|it| it.axis == axis && it.value == value);
    let others = plan.subjects.iter().filter(|it| it.id != id).filter(has);
    others.map(|it| it.id.clone()).collect()
}

/// Who is where nobody was planned.
fn strangers(
    judge: &Judge,
    picture: &Picture<'_>,
    boxes: &[BoundingBox],
) -> Result<Vec<Stranger>, AuditError> {
    let rgb = without(picture, boxes);
    let picture = Picture::new(&rgb, picture.width(), picture.height())?;
    let mut found = Vec::new();
    let windows = windows(boxes, judge.stride());
    let judgements = judge.judge_elsewhere(&picture, &windows, boxes)?;
    for (&bounds, Judgement { presence, confidence, .. }) in windows.iter().zip(&judgements) {
        if matches!(presence, Presence::One | Presence::More) && SURE <= *confidence {
            found.push(Stranger { bounds, confidence: *confidence });
        }
    }
    // Of equals the first, from the top left.
    found.sort_by(|a, b| b.confidence.partial_cmp(&a.confidence).unwrap_or(Ordering::Equal));
    let mut apart: Vec<Stranger> = Vec::new();
    for it in found {
        if apart.iter().all(|other| shared(other.bounds, it.bounds) < SAME) {
            apart.push(it);
        }
    }
    Ok(apart)
}

/// The bytes of a picture with nothing in these boxes, as there is nothing beyond its edge.
fn without(picture: &Picture<'_>, boxes: &[BoundingBox]) -> Vec<u8> {
    let (width, height) = (picture.width(), picture.height());
    let mut rgb = picture.rgb().to_vec();
    for bounds in boxes {
        let Edges { left, top, right, bottom } = bounds.edges();
        let within = |from: f64, to: f64, at: usize, of: usize| {
            let centre = (real(at) + 0.5) / real(of);
            from <= centre && centre < to
        };
        for (y, line) in rgb.chunks_exact_mut(3 * width).enumerate() {
            for (x, pixel) in line.chunks_exact_mut(3).enumerate() {
                if within(left, right, x, width) && within(top, bottom, y, height) {
                    pixel.fill(GREY);
                }
            }
        }
    }
    rgb
}

/// Windows of the size of a person over the whole picture, of which boxes cover little, row by row from the top.
fn windows(boxes: &[BoundingBox], stride: f64) -> Vec<BoundingBox> {
    let Some(width) = mean(boxes.iter().map(BoundingBox::width)) else { return Vec::new() };
    let Some(height) = mean(boxes.iter().map(BoundingBox::height)) else { return Vec::new() };
    let mut windows = Vec::new();
    for top in starts(height, stride) {
        for left in starts(width, stride) {
            let (right, bottom) = ((left + width).min(1.0), (top + height).min(1.0));
            let Ok(window) = BoundingBox::new(left, top, right, bottom) else { continue };
            // Boxes may overlap: then less is covered than this.
            let covered: f64 = boxes.iter().map(|it| overlap(*it, window)).sum();
            if covered <= COVERED * window.area() {
                windows.push(window);
            }
        }
    }
    windows
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> Option<f64> {
    let count = u32::try_from(values.len()).ok().filter(|&count| 0 < count)?;
    Some(values.sum::<f64>() / f64::from(count))
}

/// Where windows of a length begin in the unit interval, evenly from end to end.
fn starts(length: f64, stride: f64) -> Vec<f64> {
    let room = 1.0 - length;
    let step = (length * stride).max(1.0 / real(MOST_WINDOWS));
    let mut steps = 0;
    while real(steps) * step < room {
        steps += 1;
    }
    (0..=steps).map(|at| if steps == 0 { 0.0 } else { room * real(at) / real(steps) }).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a few dozen")]
fn real(count: usize) -> f64 {
    count as f64
}

/// The area that two boxes share.
fn overlap(a: BoundingBox, b: BoundingBox) -> f64 {
    let (a, b): (Edges, Edges) = (a.edges(), b.edges());
    let wide = a.right.min(b.right) - a.left.max(b.left);
    let tall = a.bottom.min(b.bottom) - a.top.max(b.top);
    wide.max(0.0) * tall.max(0.0)
}

/// The part of the smaller one of two boxes that they share.
fn shared(a: BoundingBox, b: BoundingBox) -> f64 {
    overlap(a, b) / a.area().min(b.area())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(left: f64, top: f64, right: f64, bottom: f64) -> BoundingBox {
        BoundingBox::new(left, top, right, bottom).unwrap()
    }

    #[test]
    fn windows_lie_where_boxes_leave_room() {
        let two = [bounds(0.0, 0.5, 0.2, 1.0), bounds(0.8, 0.5, 1.0, 1.0)];
        let found = windows(&two, 1.0 / 3.0);
        let covered = |it: &BoundingBox| {
            two.iter().map(|other| overlap(*it, *other)).sum::<f64>() / it.area()
        };
        assert!(found.iter().all(|it| covered(it) <= COVERED));
        // Between the two, above them, and from edge to edge.
        for corner in [bounds(0.3, 0.5, 0.5, 1.0), bounds(0.0, 0.0, 0.2, 0.5)] {
            assert!(found.iter().any(|it| 0.5 < shared(*it, corner)), "{corner:?}");
        }
        assert!(windows(&[bounds(0.0, 0.0, 1.0, 1.0)], 1.0 / 3.0).is_empty());
        assert!(windows(&[], 1.0 / 3.0).is_empty());
    }

    #[test]
    fn what_is_found_is_held_against_what_was_planned() {
        let finding = |answer| Finding { attribute: "tone".to_owned(), answer, confidence: 0.9 };
        let word = |judged: &str| if judged == "dark" { "ebony" } else { judged }.to_owned();
        let read = |answer, alone| reading("ebony", &finding(answer), alone, word);
        let value = |it: &str| Answer::Value(it.to_owned());
        let cases = [
            (read(value("dark"), true), Verdict::Right, Some("ebony")),
            (read(value("light"), true), Verdict::Wrong, Some("light")),
            (read(value("dark"), false), Verdict::Absent, None),
            (read(Answer::NotVisible, true), Verdict::NotVisible, None),
            (read(Answer::NotSure, true), Verdict::NotSure, None),
        ];
        for (found, verdict, word) in cases {
            assert_eq!((found.verdict, found.found.as_deref()), (verdict, word));
        }
    }
}
