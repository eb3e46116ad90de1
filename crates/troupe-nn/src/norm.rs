//! Normalisation over groups of channels and over a token.

use candle_core::Tensor;

use crate::{
    NnError, cpu,
    kernels::{Activation, GroupNormShape, kernels},
    tensor::{from_values, vector, with_values},
};

/// Group normalisation (Wu and He 2018, arXiv:1803.08494).
#[derive(Clone, Debug)]
pub struct GroupNorm {
    // Invariant: as many as `bias`, and a multiple of `groups`.
    weight: Vec<f32>,
    bias: Vec<f32>,
    groups: usize,
    eps: f64,
}

impl GroupNorm {
    /// `weight` and `bias` are `(channels,)`; `groups` must divide their length.
    ///
    /// # Errors
    ///
    /// If the shapes differ, or `groups` doesn't divide them.
    #[expect(clippy::needless_pass_by_value, reason = "a layer takes its weights over")]
    pub fn new(weight: Tensor, bias: Tensor, groups: usize, eps: f64) -> Result<Self, NnError> {
        let channels = weight.elem_count();
        if groups == 0 || !channels.is_multiple_of(groups) {
            let expected = format!("a divisor of {channels} channels");
            return Err(NnError::Setting { what: "groups of a norm", expected, found: groups });
        }
        let weight = vector("weight of group norm", &weight, channels)?;
        let bias = vector("bias of group norm", &bias, channels)?;
        Ok(Self { weight, bias, groups, eps })
    }

    /// Shape `(batch, .., channels)` → the same.
    ///
    /// # Errors
    ///
    /// If the channels are others, or the tensor isn't `f32` on the CPU.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, NnError> {
        self.normalise(x, Activation::Identity)
    }

    /// The norm and then `x · sigmoid(x)`, in one pass.
    ///
    /// Shape `(batch, .., channels)` → the same.
    ///
    /// # Errors
    ///
    /// If the channels are others, or the tensor isn't `f32` on the CPU.
    pub fn forward_silu(&self, x: &Tensor) -> Result<Tensor, NnError> {
        self.normalise(x, Activation::Silu)
    }

    fn normalise(&self, x: &Tensor, activation: Activation) -> Result<Tensor, NnError> {
        let channels = self.weight.len();
        let (batch, tokens) = match x.dims() {
            [batch, between @ .., last] if *last == channels => {
                (*batch, between.iter().product::<usize>())
            }
            dims => {
                let expected = format!("(batch, .., {channels})");
                return Err(NnError::shape("input of group norm", expected, dims));
            }
        };
        let (groups, eps) = (self.groups, self.eps);
        let shape = GroupNormShape { batch, tokens, channels, groups, eps };
        let mut out = vec![0.0; x.elem_count()];
        with_values(x, |x| {
            kernels().group_norm(x, shape, &self.weight, &self.bias, activation, &mut out);
        })?;
        from_values(out, x.dims())
    }
}

/// Layer normalisation over the last dimension (Ba et al. 2016, arXiv:1607.06450).
#[derive(Clone, Debug)]
pub struct LayerNorm {
    // Invariant: as many as `bias`.
    weight: Vec<f32>,
    bias: Vec<f32>,
    eps: f64,
}

impl LayerNorm {
    /// `weight` and `bias` are `(channels,)`.
    ///
    /// # Errors
    ///
    /// If the shapes differ, or a tensor isn't `f32` on the CPU.
    #[expect(clippy::needless_pass_by_value, reason = "a layer takes its weights over")]
    pub fn new(weight: Tensor, bias: Tensor, eps: f64) -> Result<Self, NnError> {
        let channels = weight.elem_count();
        let weight = vector("weight of layer norm", &weight, channels)?;
        let bias = vector("bias of layer norm", &bias, channels)?;
        Ok(Self { weight, bias, eps })
    }

    /// Shape `(.., channels)` → the same.
    ///
    /// # Errors
    ///
    /// If the channels are others, or the tensor isn't `f32` on the CPU.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, NnError> {
        let channels = self.weight.len();
        if x.dims().last() != Some(&channels) {
            let expected = format!("(.., {channels})");
            return Err(NnError::shape("input of layer norm", expected, x.dims()));
        }
        let mut out = vec![0.0; x.elem_count()];
        with_values(x, |x| cpu::layer_norm(x, &self.weight, &self.bias, self.eps, &mut out))?;
        from_values(out, x.dims())
    }
}

#[cfg(test)]
#[expect(clippy::integer_division, reason = "shapes are whole numbers")]
mod tests {
    use super::*;
    use crate::tensor::testing::{assert_near, pseudo_random};

    /// Values with a mean far from zero, so that a careless variance shows.
    fn input(length: usize) -> Vec<f32> {
        pseudo_random(length, 1).into_iter().map(|x| 0.3 * x + 5.0).collect()
    }

    /// Normalises those of `x` whose index `group` maps to the same number.
    fn normalised(x: &[f32], eps: f64, group: impl Fn(usize) -> usize) -> Vec<f64> {
        let groups = (0..x.len()).map(&group).max().unwrap() + 1;
        let mut out = vec![0.0; x.len()];
        for this in 0..groups {
            let members: Vec<usize> = (0..x.len()).filter(|&index| group(index) == this).collect();
            let count = f64::from(u32::try_from(members.len()).unwrap());
            let mean = members.iter().map(|&i| f64::from(x[i])).sum::<f64>() / count;
            let variance =
                members.iter().map(|&i| (f64::from(x[i]) - mean).powi(2)).sum::<f64>() / count;
            for i in members {
                out[i] = (f64::from(x[i]) - mean) / (variance + eps).sqrt();
            }
        }
        out
    }

    #[track_caller]
    fn check_group_norm(batch: usize, tokens: usize, channels: usize, groups: usize) {
        let x = input(batch * tokens * channels);
        let (weight, bias) = (pseudo_random(channels, 2), pseudo_random(channels, 3));
        let of_group = channels / groups;
        let group =
            |index: usize| index / (tokens * channels) * groups + index % channels / of_group;
        let expected: Vec<f32> = normalised(&x, 1e-3, group)
            .into_iter()
            .enumerate()
            .map(|(index, x)| {
                let channel = index % channels;
                f64_to_f32(x * f64::from(weight[channel]) + f64::from(bias[channel]))
            })
            .collect();
        let with_silu: Vec<f32> = expected.iter().map(|x| x / (1.0 + (-x).exp())).collect();
        let norm = GroupNorm::new(
            from_values(weight, channels).unwrap(),
            from_values(bias, channels).unwrap(),
            groups,
            1e-3,
        )
        .unwrap();
        let x = from_values(x, (batch, tokens, 1, channels)).unwrap();
        assert_near(&norm.forward(&x).unwrap(), &expected);
        assert_near(&norm.forward_silu(&x).unwrap(), &with_silu);
    }

    #[expect(clippy::cast_possible_truncation, reason = "the precision of the layer")]
    fn f64_to_f32(x: f64) -> f32 {
        x as f32
    }

    #[test]
    fn each_group_of_each_image_has_its_own_statistics() {
        check_group_norm(1, 1, 2, 1);
        check_group_norm(2, 5, 6, 3);
        check_group_norm(2, 200, 20, 4);
        check_group_norm(1, 130, 80, 16);
        check_group_norm(3, 7, 8, 8);
    }

    #[track_caller]
    fn check_layer_norm(tokens: usize, channels: usize) {
        let x = input(tokens * channels);
        let (weight, bias) = (pseudo_random(channels, 2), pseudo_random(channels, 3));
        let expected: Vec<f32> = normalised(&x, 1e-5, |index| index / channels)
            .into_iter()
            .enumerate()
            .map(|(index, x)| {
                let channel = index % channels;
                f64_to_f32(x * f64::from(weight[channel]) + f64::from(bias[channel]))
            })
            .collect();
        let norm = LayerNorm::new(
            from_values(weight, channels).unwrap(),
            from_values(bias, channels).unwrap(),
            1e-5,
        );
        let x = from_values(x, (1, tokens, channels)).unwrap();
        assert_near(&norm.unwrap().forward(&x).unwrap(), &expected);
    }

    #[test]
    fn each_token_has_its_own_statistics() {
        check_layer_norm(1, 2);
        check_layer_norm(77, 128);
        check_layer_norm(300, 33);
    }

    #[test]
    fn groups_must_divide_the_channels() {
        let channels = || from_values(vec![1.0; 6], 6).unwrap();
        assert!(GroupNorm::new(channels(), channels(), 3, 1e-5).is_ok());
        for groups in [0, 4] {
            let error = GroupNorm::new(channels(), channels(), groups, 1e-5).unwrap_err();
            let expected =
                format!("groups of a norm must be a divisor of 6 channels, got {groups}");
            assert_eq!(error.to_string(), expected);
        }
        let bias = from_values(vec![1.0; 4], 4).unwrap();
        assert!(GroupNorm::new(channels(), bias, 3, 1e-5).is_err());
    }
}
