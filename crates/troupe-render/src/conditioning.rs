//! What the UNet is told about a job: its prompts, encoded, its regions, and whose LoRAs are where.

use std::collections::BTreeMap;

use candle_core::Tensor;
use troupe_core::region::{Placed, Regions, TokenGrid};
use troupe_models::clip::ClipTextEncoder;
use troupe_models::unet::{Added, Conditioning, PreparedContext};

use crate::text::Encoded;
use crate::{Job, Painter, Person, RenderError, Scene};

/// The text encoders with the LoRAs that some person has, by their numbers.
///
/// `None` where no LoRA of them changes a text encoder.
type Tuned<'a> = BTreeMap<&'a [usize], Option<Vec<ClipTextEncoder>>>;

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
        let people = match &job.scene {
            Scene::Plain(_) => &[],
            Scene::Group { people, .. } => people.as_slice(),
        };
        let tuned = self.tuned(people)?;
        let of = |person: &Person| tuned.get(person.loras.as_slice()).and_then(Option::as_deref);
        if 1.0 < job.settings.guidance {
            let encode = |tuned, notes: &mut Vec<String>| -> Result<Encoded, RenderError> {
                let negative = self.texts.encode(&job.negative, tuned, notes)?;
                if self.zeros_for_empty_prompt && job.negative.trim().is_empty() {
                    return negative.zeros();
                }
                Ok(negative)
            };
            let negative = encode(None, &mut notes)?;
            rows.push(if people.iter().all(|person| person.loras.is_empty()) {
                Conditioning::Plain(negative.context)
            } else {
                // A LoRA changes what is said against a prompt as it changes the prompt, where it is bound.
                let region = |person: &Person| match of(person) {
                    Some(tuned) => Ok(encode(Some(tuned), &mut Vec::new())?.context),
                    None => Ok(negative.context.clone()),
                };
                let regions = people.iter().map(region).collect::<Result<_, RenderError>>()?;
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
                let regions = people.iter().map(region).collect::<Result<_, _>>()?;
                rows.push(Conditioning::Regional { base: base.context, regions });
                pooled.extend(base.pooled);
                let placed = people
                    .iter()
                    .map(|person| Placed { bounds: person.bounds, depth: person.depth })
                    .collect();
                Some(Regions::new(placed, job.settings.base_ratio))
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
