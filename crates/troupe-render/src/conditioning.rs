//! What the UNet is told about a job: its prompts, encoded, its regions, and whose LoRAs are where.

use std::collections::BTreeMap;

use candle_core::Tensor;
use troupe_core::region::{Placed, Regions, TokenGrid};
use troupe_models::clip::ClipTextEncoder;
use troupe_models::unet::{Added, Conditioning, PreparedContext};

use crate::text::Encoded;
use crate::{Job, Painter, Person, RegionSettings, RenderError, Scene};

/// The text encoders with the LoRAs that some person has, by their numbers.
///
/// `None` where no LoRA of them changes a text encoder.
type Tuned<'a> = BTreeMap<&'a [usize], Option<Vec<ClipTextEncoder>>>;

/// The people of a picture.
pub(crate) fn people(job: &Job) -> &[Person] {
    match &job.scene {
        Scene::Plain(_) => &[],
        Scene::Group { people, .. } => people,
    }
}

/// Whether a picture is guided anywhere.
pub(crate) fn guided(job: &Job) -> bool {
    let own = people(job).iter().filter_map(|person| person.guidance);
    own.chain([job.settings.guidance]).any(|guidance| 1.0 < guidance)
}

/// The people's regions in a step of so many.
pub(crate) fn regions(
    people: &[Person],
    settings: RegionSettings,
    step: usize,
    steps: usize,
) -> Regions {
    let placed = |person: &Person| Placed { bounds: person.bounds, depth: person.depth };
    let strengths: Vec<f64> = people.iter().map(|person| person.strength).collect();
    Regions::new(people.iter().map(placed).collect(), settings.base_ratio.at(step, steps))
        .with_feather(settings.feather)
        .with_strengths(&strengths)
}

/// The people's boxes, each its person's alone, whatever the base prompt says there.
pub(crate) fn own_boxes(people: &[Person], settings: RegionSettings) -> Regions {
    let placed = |person: &Person| Placed { bounds: person.bounds, depth: person.depth };
    Regions::new(people.iter().map(placed).collect(), 0.0).with_feather(settings.feather)
}

/// Two texts against something, of which either may be empty.
fn joined(all: &str, own: &str) -> String {
    let texts = [all.trim(), own.trim()];
    texts.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(", ")
}

impl Painter {
    /// Encodes all prompts of a job: the negative one first, if there is guidance.
    pub(crate) fn context(
        &self,
        job: &Job,
        grid: TokenGrid,
    ) -> Result<(PreparedContext, Vec<String>), RenderError> {
        let mut notes = Vec::new();
        let mut rows = Vec::new();
        let mut pooled = Vec::new();
        let people = people(job);
        let tuned = self.tuned(people)?;
        let of = |person: &Person| tuned.get(person.loras.as_slice()).and_then(Option::as_deref);
        if guided(job) {
            let encode =
                |text: &str, tuned, notes: &mut Vec<String>| -> Result<Encoded, RenderError> {
                    let negative = self.texts.encode(text, tuned, notes)?;
                    if self.zeros_for_empty_prompt && text.trim().is_empty() {
                        return negative.zeros();
                    }
                    Ok(negative)
                };
            let negative = encode(&job.negative, None, &mut notes)?;
            let contrast = job.settings.regions.contrast;
            let kind = |it: &Person| 0.0 < contrast && !it.kind.trim().is_empty();
            let usual =
                |it: &Person| it.loras.is_empty() && it.negative.trim().is_empty() && !kind(it);
            rows.push(if people.iter().all(usual) {
                Conditioning::Plain(negative.context)
            } else {
                // A LoRA changes what is said against a prompt as it changes the prompt, where it is bound.
                let mut region = |person: &Person| {
                    let text = joined(&job.negative, &person.negative);
                    // What is wrong with the picture's own is said already.
                    let mut said = Vec::new();
                    let own = if of(person).is_none() && person.negative.trim().is_empty() {
                        negative.context.clone()
                    } else {
                        encode(&text, of(person), &mut said)?.context
                    };
                    if !person.negative.trim().is_empty() {
                        notes.extend(said);
                    }
                    if !kind(person) {
                        return Ok(own);
                    }
                    // What is wrong with a noun is said of the prompt that has it.
                    let mut unsaid = Vec::new();
                    let text = joined(&text, &person.kind);
                    let against = encode(&text, of(person), &mut unsaid)?.context;
                    let mut padded = own;
                    while padded.dim(0)? < against.dim(0)? {
                        let more = self.texts.encode("", of(person), &mut unsaid)?.context;
                        padded = Tensor::cat(&[padded, more], 0)?;
                    }
                    Ok(((padded * (1.0 - contrast))? + (against * contrast)?)?)
                };
                let regions = people.iter().map(&mut region).collect::<Result<_, RenderError>>()?;
                Conditioning::Regional { base: negative.context, regions }
            });
            pooled.extend(negative.pooled);
        }
        let regions = match &job.scene {
            Scene::Plain(prompt) => {
                let prompt = self.texts.encode(prompt, None, &mut notes)?;
                rows.push(Conditioning::Plain(prompt.context));
                pooled.extend(prompt.pooled);
                None
            }
            Scene::Group { base, people } => {
                let base = self.texts.encode(base, None, &mut notes)?;
                let region = |person: &Person| -> Result<Tensor, RenderError> {
                    Ok(self.texts.encode(&person.prompt, of(person), &mut notes)?.context)
                };
                let prompts = people.iter().map(region).collect::<Result<_, _>>()?;
                rows.push(Conditioning::Regional { base: base.context, regions: prompts });
                pooled.extend(base.pooled);
                Some(regions(people, job.settings.regions, 0, 1))
            }
        };
        // The picture is a whole one of its own size.
        let (height, width) = (f64::from(job.canvas.height()), f64::from(job.canvas.width()));
        let time_ids = [height, width, 0.0, 0.0, height, width];
        let added: Vec<Added> =
            pooled.into_iter().map(|pooled| Added { pooled, time_ids }).collect();
        let bound: Vec<Vec<usize>> = people.iter().map(|person| person.loras.clone()).collect();
        let context = self.unet()?.prepare(&rows, &added, regions.as_ref(), &bound, grid)?;
        Ok((context, notes))
    }

    /// The text encoders that the people's LoRAs ask for, each once.
    fn tuned<'a>(&self, people: &'a [Person]) -> Result<Tuned<'a>, RenderError> {
        let mut tuned = BTreeMap::new();
        for person in people.iter().filter(|person| !person.loras.is_empty()) {
            if let Some(lora) = person.loras.iter().find(|&&lora| self.bound <= lora) {
                let text = format!("a person has LoRA {lora}, and {} can be bound", self.bound);
                return Err(RenderError::Mismatch(text));
            }
            if !tuned.contains_key(person.loras.as_slice()) {
                tuned.insert(person.loras.as_slice(), self.texts.tuned(&person.loras)?);
            }
        }
        Ok(tuned)
    }
}
