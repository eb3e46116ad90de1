//! Painting the pictures of a run: what is missing is laid out, painted, judged, and where somebody isn't who the plan says,
//! painted again.

use std::fs;
use std::path::Path;

use troupe_audit::{Measured, Tallies};
use troupe_core::audit::{Audit, Presence, SubjectAudit, Try, Verdict};
use troupe_core::layout::Layout;
use troupe_core::plan::ScenePlan;
use troupe_core::seed::Seed;
use troupe_models::hash::sha256_of_file;

use super::{Failure, Job, failure, plan_of, read_document, write_document};
use crate::audit::{Examiner, Which};
use crate::layout::Room;
use crate::paint::{
    Anew, Easel, Exchange, FEATHER, ModelFolder, Order, Original, Part, Pixels, Place, Subject,
    use_threads,
};
use crate::{PipelineError, Studio, Talk, files};

/// How far those who are painted again for their attributes alone are led away from what the model makes of their noun.
const CONTRAST: f64 = 1.0;

/// The folder of a picture's tries.
pub(super) const TRIES: &str = "tries";

/// What paints and judges the pictures of a run.
pub(super) struct Painting<'a> {
    studio: &'a Studio,
    model: &'a ModelFolder,
    room: &'a Room,
    examiner: Option<Examiner>,
    easel: Option<Easel>,
    found: Tallies,
}

/// A painted picture, as it stands after a number of tries.
struct Painted {
    png: Vec<u8>,
    audit: Audit,
}

impl<'a> Painting<'a> {
    /// Loads the judge, if one is wanted; the model is loaded for the first picture that is missing.
    pub(super) fn new(
        studio: &'a Studio,
        model: &'a ModelFolder,
        room: &'a Room,
        talk: &mut dyn Talk,
    ) -> Result<Self, PipelineError> {
        let paint = &studio.config.paint;
        let audit = &studio.config.audit;
        // Loading the judge computes, too.
        use_threads(paint.threads)?;
        let examiner = Examiner::configured(&studio.manifest, audit, &paint.model, Which::First)?;
        if examiner.is_none() && 0 < paint.retries {
            return Err(PipelineError::Usage(format!(
                "`paint.retries` is {}, and `audit.judge` is `{}`: wanted a judge who says whom to paint again, and there \
                 is none who knows the painter `{}`",
                paint.retries, audit.judge, paint.model
            )));
        }
        if let Some(examiner) = &examiner {
            examiner.warn_of_strange_style(&paint.model, talk);
        }
        Ok(Self { studio, model, room, examiner, easel: None, found: Tallies::default() })
    }

    /// Paints what is missing; returns how many pictures there are, and how many there were.
    pub(super) fn all(
        &mut self,
        jobs: &[Job],
        failed: &mut Vec<Failure>,
        talk: &mut dyn Talk,
    ) -> Result<(usize, usize), PipelineError> {
        let (mut pictures, mut kept) = (0, 0);
        for (index, job) in jobs.iter().enumerate().filter(|(_, job)| job.planned) {
            let there = job.folder.join("image.png").exists();
            if !there && talk.stopped() {
                return Err(PipelineError::Stopped);
            }
            let place = Place { picture: index + 1, of: jobs.len() };
            let done =
                if there { self.judged(job, place, talk) } else { self.picture(job, place, talk) };
            match done {
                Ok(()) => {
                    pictures += 1;
                    kept += usize::from(there);
                }
                // These would befall every other picture too.
                Err(error @ (PipelineError::Stopped | PipelineError::File(_))) => {
                    return Err(error);
                }
                Err(error) => failed.push(failure(index + 1, &error)),
            }
        }
        Ok((pictures, kept))
    }

    /// What was found in all pictures, if there is a judge.
    pub(super) fn measured(&self) -> Option<Measured> {
        self.examiner.as_ref().map(|_| self.found.measured())
    }

    /// Takes up what is known of a picture that is there, or judges it now. One that can't be judged is there all the same.
    fn judged(
        &mut self,
        job: &Job,
        place: Place,
        talk: &mut dyn Talk,
    ) -> Result<(), PipelineError> {
        let Some(examiner) = &self.examiner else { return Ok(()) };
        let path = job.folder.join(Which::First.audit_file());
        let known = read_document::<Audit>(&path).ok().zip(plan_of(job).ok());
        let known = known.filter(|(audit, plan)| {
            let image = files::map(&job.folder.join("image.png"));
            examiner.made(audit)
                && image.is_ok_and(|bytes| audit.is_of(&sha256_of_file(&bytes), plan))
        });
        if let Some((audit, plan)) = known {
            self.found.add(&plan, &audit);
            return Ok(());
        }
        if talk.stopped() {
            return Err(PipelineError::Stopped);
        }
        match examiner.audit_folder(&job.folder) {
            Ok(judged) => self.found.add(&judged.layout.plan, &judged.audit),
            Err(error) => talk.note(&format!("picture {} isn't judged: {error}", place.picture)),
        }
        Ok(())
    }

    /// Lays out, paints and judges one picture.
    fn picture(
        &mut self,
        job: &Job,
        place: Place,
        talk: &mut dyn Talk,
    ) -> Result<(), PipelineError> {
        let layout = layout_of(self.room, &job.folder, &plan_of(job)?)?;
        let asked = Subject::Layout(&layout).asked();
        // What can't paint this picture may paint the next.
        let easel = match &mut self.easel {
            Some(ready) => {
                ready.take_loras(self.studio, &asked, talk)?;
                ready
            }
            None => self.easel.insert(Easel::load(self.studio, self.model, &asked, talk)?),
        };
        for note in &layout.plan.notes {
            talk.note(note);
        }
        let seed = layout.plan.seed;
        let order = Order { subject: Subject::Layout(&layout), seed, anew: None };
        let mut png = easel.paint(self.studio, order, &Exchange::default(), place, talk)?;
        let path = job.folder.join("image.png");
        // Those of a picture that was here before.
        let _none = fs::remove_dir_all(job.folder.join(TRIES));
        if let Some(examiner) = &self.examiner {
            let audit = examiner.audit(&Pixels::of(&path, &png)?, &layout)?;
            let again = Again { studio: self.studio, examiner, easel, layout: &layout, place };
            let retries = self.studio.config.paint.retries;
            let first = Painted { png, audit };
            let mut anew =
                |try_: Attempt<'_>, before: &Painted| again.anew(&path, try_, before, talk);
            let painted = until_right(first, retries, &mut anew)?;
            png = painted.png;
            // The picture comes last: where it is, its audit is too, wherever a run was killed.
            write_document(&job.folder.join(Which::First.audit_file()), &painted.audit)?;
            self.found.add(&layout.plan, &painted.audit);
        }
        Ok(files::write_atomically(&path, &png)?)
    }
}

/// What comes of a try, and the seed from which; nothing if it can't be painted.
type Tried = Result<Option<(Seed, Painted)>, PipelineError>;

/// One more time that some people are painted.
#[derive(Clone, Copy)]
struct Attempt<'a> {
    /// From 1.
    number: u32,
    /// Who is wrong.
    subjects: &'a [String],
    /// Whether all of them are there, and what they are to be; then who they are is wrong.
    there: bool,
}

/// Paints those anew of whom something is wrong, so often at most; what comes of it counts if more people are right than
/// before. All tries are in the audit. `anew` paints.
fn until_right(
    first: Painted,
    retries: u32,
    anew: &mut dyn FnMut(Attempt<'_>, &Painted) -> Tried,
) -> Result<Painted, PipelineError> {
    let mut best = first;
    let mut tries = Vec::new();
    for number in 1..=retries {
        let wrong = named(&best.audit, false);
        if wrong.is_empty() {
            break;
        }
        let there = best.audit.subjects.iter().filter(|it| !it.is_right()).all(is_there);
        let attempt = Attempt { number, subjects: &wrong, there };
        let Some((seed, tried)) = anew(attempt, &best)? else { break };
        let right = named(&tried.audit, true);
        let kept = named(&best.audit, true).len() < right.len();
        let image = format!("{TRIES}/{number}.png");
        tries.push(Try { image, seed, subjects: wrong, right, kept });
        if kept {
            best = tried;
        }
    }
    best.audit.tries = tries;
    Ok(best)
}

/// What paints people of one picture again.
struct Again<'a> {
    studio: &'a Studio,
    examiner: &'a Examiner,
    easel: &'a Easel,
    layout: &'a Layout,
    place: Place,
}

impl Again<'_> {
    /// The same picture with some people painted anew, from noise of a seed of its own; kept beside the picture. A try that
    /// fails is said, and ends them: the picture is there without it.
    fn anew(
        &self,
        path: &Path,
        attempt: Attempt<'_>,
        before: &Painted,
        talk: &mut dyn Talk,
    ) -> Tried {
        if talk.stopped() {
            return Err(PipelineError::Stopped);
        }
        let folder = path.with_file_name(TRIES);
        if attempt.number == 1 {
            files::write_atomically(&folder.join("0.png"), &before.png)?;
        }
        let part = format!("{}/try {}", attempt.subjects.join("/"), attempt.number);
        let seed = self.layout.plan.seed.repainting(&part);
        match self.painted(path, seed, attempt, before, talk) {
            Ok(painted) => {
                files::write_atomically(
                    &folder.join(format!("{}.png", attempt.number)),
                    &painted.png,
                )?;
                Ok(Some((seed, painted)))
            }
            Err(error @ (PipelineError::Stopped | PipelineError::File(_))) => Err(error),
            Err(error) => {
                let whom = attempt.subjects.join(", ");
                talk.note(&format!(
                    "{whom} of picture {} can't be painted again: {error}",
                    self.place.picture
                ));
                Ok(None)
            }
        }
    }

    fn painted(
        &self,
        path: &Path,
        seed: Seed,
        attempt: Attempt<'_>,
        before: &Painted,
        talk: &mut dyn Talk,
    ) -> Result<Painted, PipelineError> {
        let subject = Subject::Layout(self.layout);
        let original = Original::of(path, &before.png)?;
        let part = Part::Subjects(attempt.subjects.to_vec());
        let anew = Anew::new(original, part, (FEATHER, 1.0), subject)?;
        let anew = anew.with_contrast(attempt.there.then_some(CONTRAST));
        let order = Order { subject, seed, anew: Some(&anew) };
        let exchange = Exchange::default();
        let png = self.easel.paint(self.studio, order, &exchange, self.place, talk)?;
        let audit = self.examiner.audit(&Pixels::of(path, &png)?, self.layout)?;
        Ok(Painted { png, audit })
    }
}

/// Whether somebody is there who is what the plan says, as far as the judge can tell.
fn is_there(subject: &SubjectAudit) -> bool {
    let noun = subject.noun.as_ref().map(|it| it.verdict);
    subject.presence == Presence::One && noun.is_none_or(|it| it == Verdict::Right)
}

/// The people who are right, or those who aren't.
fn named(audit: &Audit, right: bool) -> Vec<String> {
    let those = audit.subjects.iter().filter(|subject| subject.is_right() == right);
    those.map(|subject| subject.id.clone()).collect()
}

/// The layout that is there, unless the plan has been edited since; else a new one.
fn layout_of(room: &Room, folder: &Path, plan: &ScenePlan) -> Result<Layout, PipelineError> {
    let path = folder.join("layout.json");
    if path.exists() {
        let layout: Layout = read_document(&path)?;
        if layout.plan == *plan {
            return Ok(layout);
        }
    }
    let layout = room.lay_out(plan)?;
    // The layout comes last: where it is, its drawing is too, wherever a run was killed.
    let svg = troupe_layout::drawing::svg(&layout);
    files::write_atomically(&folder.join("layout.svg"), svg.as_bytes())?;
    write_document(&path, &layout)?;
    Ok(layout)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// An audit in which some of three people are right.
    fn audit(right: &[&str]) -> Audit {
        let subject = |id: &str| {
            let presence = if right.contains(&id) { "one" } else { "nobody" };
            json!({ "id": id, "presence": presence, "confidence": 0.9, "values": [] })
        };
        let subjects = ["s1", "s2", "s3"].map(subject);
        let judge = json!({ "name": "scripted", "hash": "" });
        let audit = json!({
            "schema": "troupe.audit/1", "picture": "", "judge": judge, "subjects": subjects,
        });
        serde_json::from_value(audit).unwrap()
    }

    /// How a first picture with these people is tried again: with contrast or without.
    fn with_contrast(people: &[(&str, Option<&str>, &str)]) -> bool {
        let subject = |(at, &(presence, noun, age)): (usize, &(&str, Option<&str>, &str))| {
            let reading =
                |verdict: &str| json!({ "planned": "x", "verdict": verdict, "confidence": 0.5 });
            let mut value = reading(age);
            value["axis"] = json!("age");
            let mut subject = json!({
                "id": format!("s{at}"), "presence": presence, "confidence": 0.9, "values": [value],
            });
            if let Some(noun) = noun {
                subject["noun"] = reading(noun);
            }
            subject
        };
        let subjects: Vec<Value> = people.iter().enumerate().map(subject).collect();
        let mut audit = audit(&[]);
        audit.subjects = serde_json::from_value(json!(subjects)).unwrap();
        let mut found = None;
        let mut anew = |attempt: Attempt<'_>, _: &Painted| {
            found = Some(attempt.there);
            Ok(None)
        };
        let _first = until_right(Painted { png: vec![0], audit }, 1, &mut anew).unwrap();
        found.unwrap()
    }

    #[test]
    fn those_who_are_there_are_tried_again_with_contrast() {
        let wrong = ("one", Some("right"), "wrong");
        assert!(with_contrast(&[wrong]));
        assert!(with_contrast(&[("one", None, "wrong")]), "a noun that the judge can't tell");
        for noun in ["wrong", "not_sure", "not_visible"] {
            assert!(!with_contrast(&[("one", Some(noun), "wrong")]), "{noun}");
        }
        for presence in ["more", "nobody", "not_sure"] {
            assert!(!with_contrast(&[(presence, None, "right")]), "{presence}");
            assert!(!with_contrast(&[wrong, (presence, None, "right")]), "{presence}");
        }
        // Who is right isn't painted.
        assert!(with_contrast(&[wrong, ("one", Some("not_visible"), "right")]));
    }

    /// Tries with these people right in each; returns which picture stays, who was painted in each, and which were kept.
    fn scripted(first: &[&str], script: &[&[&str]], retries: u32) -> (u8, Vec<String>, Vec<bool>) {
        let mut asked = Vec::new();
        let mut anew = |attempt: Attempt<'_>, before: &Painted| {
            asked.push(format!("{} of {}", attempt.subjects.join(" "), before.png[0]));
            let Some(right) = script.get(attempt.number as usize - 1) else { return Ok(None) };
            let png = vec![u8::try_from(attempt.number).unwrap()];
            Ok(Some((Seed(attempt.number.into()), Painted { png, audit: audit(right) })))
        };
        let first = Painted { png: vec![0], audit: audit(first) };
        let painted = until_right(first, retries, &mut anew).unwrap();
        let tries = &painted.audit.tries;
        let images = tries.iter().map(|it| it.image.clone());
        let names = (1..=tries.len()).map(|number| format!("tries/{number}.png"));
        assert!(images.eq(names));
        (painted.png[0], asked, tries.iter().map(|it| it.kept).collect())
    }

    #[test]
    fn a_try_is_kept_if_more_people_are_right_and_only_those_who_are_wrong_are_painted() {
        let script: [&[&str]; 3] = [&["s2"], &["s1", "s2"], &["s1", "s2", "s3"]];
        let (picture, asked, kept) = scripted(&["s1"], &script, 3);
        assert_eq!(picture, 3);
        assert_eq!(asked, ["s2 s3 of 0", "s2 s3 of 0", "s3 of 2"]);
        assert_eq!(kept, [false, true, true]);
    }

    #[test]
    fn it_ends_when_all_are_right_when_tries_are_used_up_and_when_one_fails() {
        let all: &[&str] = &["s1", "s2", "s3"];
        assert_eq!(scripted(all, &[], 5), (0, Vec::new(), Vec::new()));
        let (picture, asked, _) = scripted(&[], &[all], 5);
        assert_eq!((picture, asked.len()), (1, 1));
        let (picture, asked, kept) = scripted(&[], &[&[], &[]], 2);
        assert_eq!((picture, asked.len(), kept), (0, 2, vec![false, false]));
        let (picture, asked, kept) = scripted(&[], &[&["s1"]], 5);
        assert_eq!((picture, asked.len(), kept), (1, 2, vec![true]));
    }
}
