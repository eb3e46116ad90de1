//! Finished pictures to audits: the judge's files, one picture, and all of a run.

mod zero_shot;

use std::collections::BTreeSet;
use std::path::Path;

use troupe_audit::{Judge, Measured, Picture, Tallies, TrainedJudge};
use troupe_core::audit::{Audit, JudgedBy};
use troupe_core::layout::Layout;
use troupe_models::config::TextFile;
use troupe_models::hash::sha256_of_file;
use troupe_models::weights::Weights;

use crate::config::AuditConfig;
use crate::inspect;
use crate::manifest::{Manifest, ManifestError};
use crate::paint::Pixels;
use crate::run::{self, read_document, write_document, write_json};
use crate::{PipelineError, Talk, files};

/// The largest configuration of a judge, in bytes.
const LARGEST: u64 = 1 << 20;

/// Which of a pair of judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// By which people are painted again.
    First,
    /// For scores: nothing that is tuned or painted again looks at it.
    Second,
}

/// A judge, loaded.
#[derive(Debug)]
pub struct Examiner {
    judge: Judge,
    by: JudgedBy,
    which: Which,
    /// The painters whose pictures it was made for; empty where that isn't known.
    painters: Vec<String>,
}

/// What was found in a picture.
#[derive(Debug)]
pub struct Judged {
    /// The painter's name, if the picture says it.
    pub painter: Option<String>,
    /// The layout that was painted.
    pub layout: Layout,
    /// What was found.
    pub audit: Audit,
}

impl Which {
    /// What its files are called.
    fn stem(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Second => "second",
        }
    }

    /// What is written of a picture.
    pub fn audit_file(self) -> &'static str {
        match self {
            Self::First => "audit.json",
            Self::Second => "audit-second.json",
        }
    }

    /// What is written of a run.
    pub fn measured_file(self) -> &'static str {
        match self {
            Self::First => "measured.json",
            Self::Second => "measured-second.json",
        }
    }
}

impl Examiner {
    /// Loads a judge by its name or folder: a pair of trained ones, or a model that is asked with words.
    ///
    /// # Errors
    ///
    /// If it isn't there, isn't what the manifest means, or can't be read, or if a second one is wanted of a model that has none.
    pub fn load(
        manifest: &Manifest,
        name: &str,
        which: Which,
        margin: f64,
    ) -> Result<Self, PipelineError> {
        let found = manifest.judge(name)?;
        let stem = which.stem();
        if zero_shot::is(&found.path) {
            if which == Which::Second {
                return Err(PipelineError::Usage(format!(
                    "the judge `{}` is one model, and there is no second of it",
                    found.name
                )));
            }
            let (judge, hash) = zero_shot::load(&found, margin)?;
            // What it says depends on it.
            let name = format!("{} margin {margin}", found.name);
            let by = JudgedBy { name, hash: shortened(&hash) };
            let painters = found.entry.map(|entry| entry.painters).unwrap_or_default();
            return Ok(Self { judge: Judge::ZeroShot(Box::new(judge)), by, which, painters });
        }
        let (config, weights) = (format!("{stem}.json"), format!("{stem}.safetensors"));
        found.check(&config)?;
        let config = found.path.join(config);
        let text = files::read_text(&config, LARGEST).map_err(ManifestError::from)?;
        let path = found.path.join(&weights);
        let bytes = files::map(&path).map_err(ManifestError::from)?;
        let hash = sha256_of_file(&bytes);
        found.compare(&weights, || Ok(hash.clone()))?;
        let weights = Weights::new(&path.display().to_string(), bytes)
            .map_err(troupe_audit::AuditError::from)?;
        let config = config.display().to_string();
        let config = TextFile { name: &config, bytes: text.as_bytes() };
        let judge = Judge::Trained(Box::new(TrainedJudge::load(config, &weights)?));
        let by = JudgedBy { name: format!("{} {stem}", found.name), hash: shortened(&hash) };
        let painters = found.entry.map(|entry| entry.painters).unwrap_or_default();
        Ok(Self { judge, by, which, painters })
    }

    /// The judge that the configuration names, or that knows the painter; `None` where there is none or none is wanted.
    ///
    /// # Errors
    ///
    /// As [`Examiner::load`].
    pub fn configured(
        manifest: &Manifest,
        audit: &AuditConfig,
        painter: &str,
        which: Which,
    ) -> Result<Option<Self>, PipelineError> {
        let name = match audit.judge.as_str() {
            "none" => None,
            "auto" => who_knows(manifest, painter),
            name => Some(name),
        };
        name.map(|name| Self::load(manifest, name, which, audit.margin)).transpose()
    }

    /// The judge for a picture or a run folder: the one that the configuration names, else one that knows the painter, else
    /// the first.
    ///
    /// # Errors
    ///
    /// As [`Examiner::load`], and if it is neither picture nor run folder.
    pub fn for_pictures(
        manifest: &Manifest,
        audit: &AuditConfig,
        path: &Path,
        which: Which,
    ) -> Result<Self, PipelineError> {
        if !["auto", "none"].contains(&audit.judge.as_str()) {
            return Self::load(manifest, &audit.judge, which, audit.margin);
        }
        let image = if path.is_dir() {
            run::pictures(path)?.into_iter().map(|it| it.join("image.png")).find(|it| it.is_file())
        } else {
            Some(path.to_owned())
        };
        let record = image.and_then(|image| inspect::picture(&image).ok());
        let knows = record.and_then(|it| who_knows(manifest, &it.model.name));
        let first = || manifest.judge.first().map_or("starter", |entry| entry.name.as_str());
        Self::load(manifest, knows.unwrap_or_else(first), which, audit.margin)
    }

    /// Judges a picture by the layout from which it was painted.
    ///
    /// # Errors
    ///
    /// If the tensor library fails.
    pub fn audit(&self, pixels: &Pixels, layout: &Layout) -> Result<Audit, PipelineError> {
        let side = |pixels: u32| usize::try_from(pixels).unwrap_or(usize::MAX);
        let (width, height) = (side(pixels.width), side(pixels.height));
        let picture = Picture::new(&pixels.rgb, width, height)?;
        let by = self.by.clone();
        Ok(troupe_audit::audit(&self.judge, by, (&picture, &pixels.sha256), layout)?)
    }

    /// Judges a picture of a file, by a layout or by that which the picture carries.
    ///
    /// # Errors
    ///
    /// If it is no picture, or there is no layout.
    pub fn audit_file(
        &self,
        image: &Path,
        layout: Option<Layout>,
    ) -> Result<Judged, PipelineError> {
        let pixels = Pixels::read(image)?;
        let (painter, carried) = match inspect::picture(image) {
            Ok(record) => (Some(record.model.name), record.layout),
            // Whatever else it says of itself, it can be judged by a layout that is given.
            Err(_) if layout.is_some() => (None, None),
            Err(error) => return Err(error),
        };
        let layout = layout.or(carried).ok_or_else(|| PipelineError::NoLayout(image.to_owned()))?;
        let audit = self.audit(&pixels, &layout)?;
        Ok(Judged { painter, layout, audit })
    }

    /// Judges every finished picture of a run; writes what it finds beside each and the sums into the run's folder.
    ///
    /// # Errors
    ///
    /// If there is no picture, or one can't be judged.
    pub fn audit_run(&self, folder: &Path, talk: &mut dyn Talk) -> Result<Measured, PipelineError> {
        let mut tallies = Tallies::default();
        let mut painters = BTreeSet::new();
        for picture in run::pictures(folder)? {
            if !picture.join("image.png").is_file() {
                continue;
            }
            if talk.stopped() {
                return Err(PipelineError::Stopped);
            }
            let Judged { painter, layout, audit } = self.audit_folder(&picture)?;
            if let Some(painter) = painter
                && painters.insert(painter.clone())
            {
                self.warn_of_strange_style(&painter, talk);
            }
            tallies.add(&layout.plan, &audit);
        }
        let measured = tallies.measured();
        if measured.pictures == 0 {
            let text = format!("`{}` is no run folder with a picture in it", folder.display());
            return Err(PipelineError::Usage(text));
        }
        write_json(&folder.join(self.which.measured_file()), &measured)?;
        Ok(measured)
    }

    /// Judges the picture of a folder of a run, and writes beside it what it finds.
    ///
    /// # Errors
    ///
    /// If it is no picture, or there is no layout.
    pub(crate) fn audit_folder(&self, folder: &Path) -> Result<Judged, PipelineError> {
        let image = folder.join("image.png");
        // What was painted is in the picture; a layout beside it may have been edited since.
        let mut judged = match self.audit_file(&image, None) {
            Err(PipelineError::NoLayout(_)) => {
                self.audit_file(&image, Some(read_document(&folder.join("layout.json"))?))?
            }
            judged => judged?,
        };
        let path = folder.join(self.which.audit_file());
        // How the picture came to be isn't seen in it.
        let before = read_document::<Audit>(&path).ok();
        let before = before.filter(|it| it.is_of(&judged.audit.picture, &judged.layout.plan));
        judged.audit.tries = before.map(|it| it.tries).unwrap_or_default();
        write_document(&path, &judged.audit)?;
        Ok(judged)
    }

    /// Whether an audit is this judge's.
    pub(crate) fn made(&self, audit: &Audit) -> bool {
        audit.judge == self.by
    }

    /// Says that a judge knows nothing of a painter's pictures.
    pub fn warn_of_strange_style(&self, painter: &str, talk: &mut dyn Talk) {
        if !self.painters.is_empty() && !self.painters.iter().any(|it| it == painter) {
            talk.note(&format!(
                "the judge `{}` knows pictures of {} only, and what it says of one by `{painter}` may mean nothing",
                self.by.name,
                self.painters.join(", ")
            ));
        }
    }
}

/// What of a hash says whose weights they are.
fn shortened(hash: &str) -> String {
    hash.chars().take(10).collect()
}

/// The judge who knows a painter, by name.
fn who_knows<'a>(manifest: &'a Manifest, painter: &str) -> Option<&'a str> {
    let knows = |painters: &[String]| painters.iter().any(|it| it == painter);
    let entry = manifest.judge.iter().find(|entry| knows(&entry.painters));
    entry.map(|entry| entry.name.as_str())
}
