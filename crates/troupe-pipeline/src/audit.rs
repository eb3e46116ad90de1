//! Finished pictures to audits: the judge's files, one picture, and all of a run.

use std::path::Path;

use troupe_audit::{Judge, Measured, Picture, Tallies};
use troupe_core::audit::{Audit, JudgedBy};
use troupe_core::layout::Layout;
use troupe_models::config::TextFile;
use troupe_models::hash::sha256_of_file;
use troupe_models::weights::Weights;

use crate::config::AuditConfig;
use crate::inspect;
use crate::manifest::Manifest;
use crate::paint::Pixels;
use crate::run::{self, read_document, write_document};
use crate::{PipelineError, Talk, files};

/// The largest configuration of a judge, in bytes.
const LARGEST: u64 = 1 << 20;

/// Which of a pair of judges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Which {
    /// By which people are painted again.
    #[default]
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
    /// Loads a judge by its name or folder.
    ///
    /// # Errors
    ///
    /// If it isn't there, isn't what the manifest means, or can't be read.
    pub fn load(manifest: &Manifest, name: &str, which: Which) -> Result<Self, PipelineError> {
        let found = manifest.judge(name)?;
        let stem = which.stem();
        let (config, weights) = (format!("{stem}.json"), format!("{stem}.safetensors"));
        found.check(&config)?;
        let config = found.path.join(config);
        let text = files::read_text(&config, LARGEST)?;
        let path = found.path.join(&weights);
        let bytes = files::map(&path)?;
        let hash = sha256_of_file(&bytes);
        found.compare(&weights, || Ok(hash.clone()))?;
        let weights = Weights::new(&path.display().to_string(), bytes)
            .map_err(troupe_audit::AuditError::from)?;
        let config = config.display().to_string();
        let judge = Judge::load(TextFile { name: &config, bytes: text.as_bytes() }, &weights)?;
        let hash = hash.chars().take(10).collect();
        let by = JudgedBy { name: format!("{} {stem}", found.name), hash };
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
        let knows = |painters: &[String]| painters.iter().any(|it| it == painter);
        let name = match audit.judge.as_str() {
            "none" => None,
            "auto" => {
                let entry = manifest.judge.iter().find(|entry| knows(&entry.painters));
                entry.map(|entry| entry.name.as_str())
            }
            name => Some(name),
        };
        name.map(|name| Self::load(manifest, name, which)).transpose()
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
        Ok(troupe_audit::audit(&self.judge, self.by.clone(), &picture, layout)?)
    }

    /// Judges a picture of a file, by a layout or by that which the picture carries; returns the layout, too.
    ///
    /// # Errors
    ///
    /// If it is no picture, or there is no layout.
    pub fn audit_file(
        &self,
        image: &Path,
        layout: Option<Layout>,
        talk: &mut dyn Talk,
    ) -> Result<(Layout, Audit), PipelineError> {
        let pixels = Pixels::read(image)?;
        let record = match inspect::picture(image) {
            Ok(record) => Some(record),
            Err(PipelineError::NoLayout(_)) => None,
            Err(error) => return Err(error),
        };
        if let Some(record) = &record {
            self.warn_of_strange_style(&record.model.name, talk);
        }
        let carried = record.and_then(|record| record.layout);
        let layout = layout.or(carried).ok_or_else(|| PipelineError::NoLayout(image.to_owned()))?;
        let audit = self.audit(&pixels, &layout)?;
        Ok((layout, audit))
    }

    /// Judges every finished picture of a run; writes what it finds beside each and the sums into the run's folder.
    ///
    /// # Errors
    ///
    /// If there is no picture, or one can't be judged.
    pub fn audit_run(&self, folder: &Path, talk: &mut dyn Talk) -> Result<Measured, PipelineError> {
        let mut tallies = Tallies::default();
        let mut some = false;
        for picture in run::pictures(folder)? {
            let image = picture.join("image.png");
            if !image.is_file() {
                continue;
            }
            if talk.stopped() {
                return Err(PipelineError::Stopped);
            }
            some = true;
            let (layout, audit) = self.audit_folder(&picture, talk)?;
            tallies.add(&layout.plan, &audit);
        }
        if !some {
            let text = format!("`{}` is no run folder with a picture in it", folder.display());
            return Err(PipelineError::Usage(text));
        }
        let measured = tallies.measured();
        write_measured(&folder.join(self.which.measured_file()), &measured)?;
        Ok(measured)
    }

    /// Judges the picture of a folder of a run, and writes beside it what it finds.
    ///
    /// # Errors
    ///
    /// If it is no picture, or there is no layout.
    pub fn audit_folder(
        &self,
        folder: &Path,
        talk: &mut dyn Talk,
    ) -> Result<(Layout, Audit), PipelineError> {
        let image = folder.join("image.png");
        // What was painted is in the picture; a layout beside it may have been edited since.
        let (layout, mut audit) = match self.audit_file(&image, None, talk) {
            Err(PipelineError::NoLayout(_)) => {
                let beside = read_document(&folder.join("layout.json"))?;
                self.audit_file(&image, Some(beside), talk)?
            }
            judged => judged?,
        };
        let path = folder.join(self.which.audit_file());
        if path.exists() {
            // How the picture came to be isn't seen in it.
            audit.tries = read_document::<Audit>(&path)?.tries;
        }
        write_document(&path, &audit)?;
        Ok((layout, audit))
    }

    /// Says that a judge knows nothing of a painter's pictures.
    fn warn_of_strange_style(&self, painter: &str, talk: &mut dyn Talk) {
        if !self.painters.is_empty() && !self.painters.iter().any(|it| it == painter) {
            talk.note(&format!(
                "the judge `{}` knows pictures of {} only, and what it says of one by `{painter}` may mean nothing",
                self.by.name,
                self.painters.join(", ")
            ));
        }
    }
}

/// Writes the sums of a run.
///
/// # Errors
///
/// If the file can't be written.
pub fn write_measured(path: &Path, measured: &Measured) -> Result<(), PipelineError> {
    let text = serde_json::to_string_pretty(measured).map_err(|error| {
        PipelineError::Usage(format!("`{}` can't be written: {error}", path.display()))
    })?;
    Ok(files::write_atomically(path, format!("{text}\n").as_bytes())?)
}
