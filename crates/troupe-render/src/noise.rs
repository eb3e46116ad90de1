//! The noise that a picture begins with, and what its steps add.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use troupe_core::region::TokenGrid;
use troupe_sampler::TorchCpuGenerator;

use crate::{Noise, RenderError, Tensor4};

impl Noise {
    /// Noise of the same kind from another seed, which has a name; given noise stays what it is.
    pub(crate) fn other(&self, name: &str) -> Self {
        match self {
            Self::Seeded(seed) => Self::Seeded(seed.repainting(name)),
            Self::TorchCpu(seed) => Self::TorchCpu(seed.repainting(name)),
            Self::Given { .. } => self.clone(),
        }
    }
}

/// Draws in the order in which it is asked.
pub(crate) struct NoiseSource<'a> {
    noise: &'a Noise,
    channels: usize,
    grid: TokenGrid,
    /// How many steps there will be.
    steps: usize,
    torch: Option<TorchCpuGenerator>,
    /// What torch's generator has drawn for steps that will be asked for again.
    drawn: BTreeMap<usize, Vec<f32>>,
}

impl<'a> NoiseSource<'a> {
    pub(crate) fn new(noise: &'a Noise, channels: usize, grid: TokenGrid, steps: usize) -> Self {
        let torch = match noise {
            Noise::TorchCpu(seed) => Some(TorchCpuGenerator::new(seed.0)),
            Noise::Seeded(_) | Noise::Given { .. } => None,
        };
        Self { noise, channels, grid, steps, torch, drawn: BTreeMap::new() }
    }

    /// What the first step begins with; to be asked for before any step's.
    ///
    /// Shape `(1, height, width, channels)`.
    pub(crate) fn initial(&mut self) -> Result<Tensor, RenderError> {
        let values = match self.noise {
            Noise::Seeded(seed) => seed.stream("noise").normals(self.count()),
            Noise::TorchCpu(_) => self.torch(),
            Noise::Given { noise, .. } => {
                check("noise", noise, [1, self.channels, self.grid.height, self.grid.width])?;
                noise.values.clone()
            }
        };
        self.channels_last(values)
    }

    /// The same as [`step`](Self::step), which will be asked for it too, or again by this.
    pub(crate) fn step_before(&mut self, step: usize) -> Result<Tensor, RenderError> {
        if self.torch.is_some() && !self.drawn.contains_key(&step) {
            let drawn = self.torch();
            self.drawn.insert(step, drawn);
        }
        match self.drawn.get(&step) {
            Some(drawn) => self.channels_last(drawn.clone()),
            None => self.step(step),
        }
    }

    /// What a step adds. Torch's generator draws in the order in which steps are asked for.
    ///
    /// Shape `(1, height, width, channels)`.
    pub(crate) fn step(&mut self, step: usize) -> Result<Tensor, RenderError> {
        let count = self.count();
        let values = match self.noise {
            Noise::Seeded(seed) => seed.stream(&format!("noise/step/{step}")).normals(count),
            Noise::TorchCpu(_) => self.drawn.remove(&step).unwrap_or_else(|| self.torch()),
            Noise::Given { steps: given, .. } => {
                let wanted = [self.steps, self.channels, self.grid.height, self.grid.width];
                let none = Tensor4 { shape: [0; 4], values: Vec::new() };
                let given = given.as_ref().unwrap_or(&none);
                check("step_noise", given, wanted)?;
                given.values[step * count..(step + 1) * count].to_vec()
            }
        };
        self.channels_last(values)
    }

    fn count(&self) -> usize {
        self.channels * self.grid.tokens()
    }

    fn torch(&mut self) -> Vec<f32> {
        let count = self.count();
        self.torch.as_mut().map(|generator| generator.normals(count)).unwrap_or_default()
    }

    /// Shape `(channels, height, width)` → `(1, height, width, channels)`.
    fn channels_last(&self, values: Vec<f32>) -> Result<Tensor, RenderError> {
        let shape = (1, self.channels, self.grid.height, self.grid.width);
        let first = Tensor::from_vec(values, shape, &Device::Cpu)?;
        Ok(first.permute((0, 2, 3, 1))?.contiguous()?)
    }
}

fn check(name: &'static str, given: &Tensor4, wanted: [usize; 4]) -> Result<(), RenderError> {
    if given.shape == wanted && given.values.len() == wanted.iter().product::<usize>() {
        return Ok(());
    }
    Err(RenderError::Noise { name, wanted: wanted.to_vec(), found: given.shape.to_vec() })
}

#[cfg(test)]
mod tests {
    use troupe_core::seed::Seed;

    use super::*;

    const GRID: TokenGrid = TokenGrid { height: 2, width: 3 };

    /// Shape `(1, height, width, channels)` → `(channels · height · width,)`.
    fn channels_first(tensor: &Tensor) -> Vec<f32> {
        tensor.permute((0, 3, 1, 2)).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn one_generator_of_torch_draws_the_latents_and_then_the_steps() {
        let noise = Noise::TorchCpu(Seed(7));
        let mut source = NoiseSource::new(&noise, 4, GRID, 3);
        let mut generator = TorchCpuGenerator::new(7);
        assert_eq!(channels_first(&source.initial().unwrap()), generator.normals(24));
        let first = generator.normals(24);
        for _ in 0..2 {
            assert_eq!(channels_first(&source.step_before(0).unwrap()), first);
        }
        assert_eq!(channels_first(&source.step(0).unwrap()), first, "asked for before");
        assert_eq!(channels_first(&source.step(1).unwrap()), generator.normals(24));
    }

    #[test]
    fn seeded_noise_of_a_step_does_not_depend_on_what_was_drawn_before() {
        let noise = Noise::Seeded(Seed(7));
        let step = |before: bool| {
            let mut source = NoiseSource::new(&noise, 4, GRID, 3);
            if before {
                source.initial().unwrap();
                source.step(0).unwrap();
            }
            channels_first(&source.step(1).unwrap())
        };
        assert_eq!(step(true), step(false));
    }

    #[test]
    fn given_noise_must_fit() {
        let tensor =
            |shape: [usize; 4]| Tensor4 { shape, values: vec![0.5; shape.iter().product()] };
        let noise = Noise::Given { noise: tensor([1, 4, 2, 3]), steps: None };
        let mut source = NoiseSource::new(&noise, 4, GRID, 3);
        assert!(source.initial().is_ok());
        let error = source.step(0).unwrap_err().to_string();
        assert_eq!(error, "noise `step_noise` has shape [0, 0, 0, 0], and [3, 4, 2, 3] was wanted");
        let noise = Noise::Given { noise: tensor([1, 4, 3, 2]), steps: Some(tensor([3, 4, 2, 3])) };
        let mut source = NoiseSource::new(&noise, 4, GRID, 3);
        assert!(source.initial().is_err());
        assert!(source.step(2).is_ok());
    }
}
