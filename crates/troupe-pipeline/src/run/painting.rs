//! Painting the pictures of a run: what is missing is laid out, painted, judged, and where somebody isn't who the plan says,
//! painted again.

use std::path::Path;

use troupe_audit::{Measured, Tallies};
use troupe_core::audit::{Audit, Try};
use troupe_core::layout::Layout;
use troupe_core::plan::ScenePlan;
use troupe_core::seed::Seed;

use super::{Failure, Job, failure, plan_of, read_document, write_document};
use crate::audit::{Examiner, Which};
use crate::layout::Room;
use crate::paint::{
    Anew, Easel, Exchange, ModelFolder, Order, Original, Part, Pixels, Place, Subject, use_threads,
};
use crate::{PipelineError, Studio, Talk, files};

/// How many pixels around a person who is painted again lead over to the rest.
const FEATHER: u32 = 8;
/// The folder of a picture's tries.
const TRIES: &str = "tries";

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
            let done = if there { self.judged(job, talk) } else { self.picture(job, place, talk) };
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

    /// Takes up what is known of a picture that is there, or judges it now.
    fn judged(&mut self, job: &Job, talk: &mut dyn Talk) -> Result<(), PipelineError> {
        let Some(examiner) = &self.examiner else { return Ok(()) };
        let path = job.folder.join(Which::First.audit_file());
        if path.exists() {
            let audit: Audit = read_document(&path)?;
            self.found.add(&plan_of(job)?, &audit);
            return Ok(());
        }
        let (layout, audit) = examiner.audit_folder(&job.folder, talk)?;
        self.found.add(&layout.plan, &audit);
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
        if let Some(examiner) = &self.examiner {
            let again = Again { studio: self.studio, examiner, easel, layout: &layout, place };
            let painted = again.until_right(&path, png, talk)?;
            png = painted.png;
            // The picture comes last: where it is, its audit is too, wherever a run was killed.
            write_document(&job.folder.join(Which::First.audit_file()), &painted.audit)?;
            self.found.add(&layout.plan, &painted.audit);
        }
        Ok(files::write_atomically(&path, &png)?)
    }
}

/// Painting again who isn't who the plan says.
struct Again<'a> {
    studio: &'a Studio,
    examiner: &'a Examiner,
    easel: &'a Easel,
    layout: &'a Layout,
    place: Place,
}

impl Again<'_> {
    /// Paints those anew of whom something is wrong, as often as the configuration has it, from noise of another seed each
    /// time; of each try the picture is kept, and it counts if more people are right than before. All tries are in the audit.
    fn until_right(
        &self,
        path: &Path,
        png: Vec<u8>,
        talk: &mut dyn Talk,
    ) -> Result<Painted, PipelineError> {
        let audit = self.audit(path, &png)?;
        let mut best = Painted { png, audit };
        let mut tries = Vec::new();
        for number in 1..=self.studio.config.paint.retries {
            let wrong = named(&best.audit, false);
            if wrong.is_empty() {
                break;
            }
            if talk.stopped() {
                return Err(PipelineError::Stopped);
            }
            let folder = path.with_file_name(TRIES);
            if tries.is_empty() {
                files::write_atomically(&folder.join("0.png"), &best.png)?;
            }
            let name = format!("{number}.png");
            let part = format!("{}/try {number}", wrong.join("/"));
            let seed = self.layout.plan.seed.repainting(&part);
            let tried = self.anew(path, &best.png, seed, &wrong, talk)?;
            files::write_atomically(&folder.join(&name), &tried.png)?;
            let right = named(&tried.audit, true);
            let better = named(&best.audit, true).len() < right.len();
            tries.push(Try {
                image: format!("{TRIES}/{name}"),
                seed,
                subjects: wrong,
                right,
                kept: better,
            });
            if better {
                best = tried;
            }
        }
        best.audit.tries = tries;
        Ok(best)
    }

    /// The same picture with some people painted anew.
    fn anew(
        &self,
        path: &Path,
        png: &[u8],
        seed: Seed,
        wrong: &[String],
        talk: &mut dyn Talk,
    ) -> Result<Painted, PipelineError> {
        let subject = Subject::Layout(self.layout);
        let original = Original::of(path, png)?;
        let anew = Anew::new(original, Part::Subjects(wrong.to_vec()), FEATHER, subject)?;
        let order = Order { subject, seed, anew: Some(&anew) };
        let exchange = Exchange::default();
        let png = self.easel.paint(self.studio, order, &exchange, self.place, talk)?;
        let audit = self.audit(path, &png)?;
        Ok(Painted { png, audit })
    }

    fn audit(&self, path: &Path, png: &[u8]) -> Result<Audit, PipelineError> {
        self.examiner.audit(&Pixels::of(path, png)?, self.layout)
    }
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
