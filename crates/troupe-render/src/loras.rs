//! The LoRAs of a painter: where each belongs, and others in their place without loading the model again.

use troupe_models::lora::{AdapterSet, Applied, attach, bind};
use troupe_models::unet::UNet;
use troupe_models::weights::Weights;

use crate::files::Loras;
use crate::{Painter, RenderError};

/// What LoRAs make of one network.
#[derive(Clone, Debug, Default)]
pub(crate) struct OfNetwork {
    /// Those of the whole picture, merged.
    pub(crate) merged: AdapterSet,
    /// Each that can be bound to people.
    pub(crate) bound: Vec<AdapterSet>,
}

/// What LoRAs make of all networks of a model.
#[derive(Clone, Debug)]
pub(crate) struct OfModel {
    pub(crate) unet: OfNetwork,
    pub(crate) texts: Vec<OfNetwork>,
}

impl OfModel {
    /// Finds the place of every tensor; of the networks only the headers are read. Says where each went, of the merged
    /// LoRAs first.
    pub(crate) fn new(
        loras: Loras<'_>,
        unet: &Weights,
        texts: &[Weights],
    ) -> Result<(Self, Vec<Applied>), RenderError> {
        let attached = attach(loras.merged, unet, texts)?;
        let merged = |merged| OfNetwork { merged, bound: Vec::new() };
        let mut of_model = Self {
            unet: merged(attached.unet),
            texts: attached.text_encoders.into_iter().map(merged).collect(),
        };
        let mut applied = attached.applied;
        for lora in loras.bound {
            let bound = bind(lora, unet, texts)?;
            of_model.unet.bound.push(bound.unet);
            of_model
                .texts
                .iter_mut()
                .zip(bound.text_encoders)
                .for_each(|(text, set)| text.bound.push(set));
            applied.extend(bound.applied);
        }
        Ok((of_model, applied))
    }
}

impl Painter {
    /// Puts these LoRAs in the place of those that the painter has. Only the layers whose weights become others are made
    /// again, of the model's files; where none is left, all weights are those of the files, to the bit. Of each LoRA it
    /// says where every tensor went, of the merged ones first.
    ///
    /// Old layers go before new ones come, so that no weight is in memory twice.
    ///
    /// # Errors
    ///
    /// If a LoRA doesn't fit, or makes a number infinite or none. The painter is then as it was, unless a file of the
    /// model can't be read any more: such a painter paints nothing until other LoRAs are put in.
    pub fn set_loras(&mut self, loras: Loras<'_>) -> Result<Vec<Applied>, RenderError> {
        let (next, applied) = OfModel::new(loras, &self.unet_weights, &self.texts.weights())?;
        let before = OfModel {
            unet: OfNetwork {
                merged: self.unet_weights.adapters().clone(),
                bound: self.unet_weights.bound_adapters().to_vec(),
            },
            texts: self.texts.loras(),
        };
        if let Err(error) = self.build_with(next) {
            self.build_with(before)?;
            return Err(error);
        }
        Ok(applied)
    }

    /// The UNet.
    pub(crate) fn unet(&self) -> Result<&UNet, RenderError> {
        let gone =
            || RenderError::Mismatch("its UNet could not be built under new LoRAs".to_owned());
        self.unet.as_ref().ok_or_else(gone)
    }

    fn build_with(&mut self, loras: OfModel) -> Result<(), RenderError> {
        self.bound = loras.unet.bound.len();
        // With both of these, the layers that become others are gone.
        self.unet = None;
        self.unet_weights =
            self.unet_weights.clone().with_adapters(loras.unet.merged).with_bound(loras.unet.bound);
        self.texts.build_with(loras.texts)?;
        self.unet = Some(UNet::new(self.unet_config.clone(), &self.unet_weights)?);
        Ok(())
    }
}
