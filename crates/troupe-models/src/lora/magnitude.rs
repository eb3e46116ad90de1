//! DoRA (Liu et al. 2024, arXiv:2402.09353, equation 5): the length of each row or column of a weight is learned apart
//! from its direction.
//!
//! `W' = m · V / ‖V‖` with `V = W + Δ`. The two forms of files agree at scale 1 and differ in what else a scale does:
//!
//! * peft (`lora_magnitude_vector`): lengths are of rows, all inputs of one output. The scale is inside:
//!   `V = W₀ + s f Δ`, and after other LoRAs `W' = m / ‖V‖ · (W + s f Δ)` with `W₀` the weight before all of them
//!   (`DoraLinearVariant.merge_safe` in peft's `lora/variants.py`).
//! * LyCORIS (`dora_scale`): of rows where it is `(out, 1, …)` (`wd_on_output`, its default) and of columns, all outputs
//!   of one input, where it is `(1, in, …)`. The scale is outside: `W + s · (m · V / (‖V‖ + ε) − W)` with `V = W + f Δ`
//!   (`weight_decompose` in LyCORIS' `functional/general.py` at multiplier 1; the scale as in `apply_dora_scale` there and in
//!   `weight_decompose` of ComfyUI's `weight_adapter/base.py`, which for rows divides by `‖W‖`, where LyCORIS trains with `‖V‖`).

use super::update::moved;
use crate::weights::{TensorFile, WeightsError};

/// What LyCORIS adds to a length: `torch.finfo(torch.float32).eps`.
const EPSILON: f64 = f32::EPSILON as f64;

/// The learned lengths of a weight's rows or columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Magnitude {
    /// The name of the tensor in the file.
    pub(super) key: String,
    pub(super) form: Form,
}

/// Whose form it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `lora_magnitude_vector`.
    Peft,
    /// `dora_scale`.
    Lycoris,
}

/// What the lengths are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    /// All inputs of one output.
    Output,
    /// All outputs of one input.
    Input,
}

/// What is added to the weight before its lengths are set.
#[derive(Clone, Copy)]
pub(super) struct Moves<'a> {
    pub(super) delta: &'a [f32],
    /// alpha / rank.
    pub(super) factor: f64,
    /// The user's scale.
    pub(super) scale: f64,
}

impl Magnitude {
    /// Whether it asks for the weight as it was before any update.
    pub(super) fn needs_base(&self) -> bool {
        self.form == Form::Peft
    }

    /// What its lengths are of, or that it isn't for a weight of this shape.
    pub(super) fn axis(&self, file: &TensorFile, weight: &[usize]) -> Result<Axis, String> {
        let shape = file.entry(&self.key).map_or(&[][..], |entry| entry.shape.as_slice());
        let ones = |shape: &[usize]| shape.iter().all(|&side| side == 1);
        let (out, inputs) = (weight.first().copied(), weight.get(1).copied());
        let output = match shape {
            // peft's of a convolution has the outputs second.
            &[1, side, ref rest @ ..] if self.form == Form::Peft => Some(side) == out && ones(rest),
            &[side, ref rest @ ..] => Some(side) == out && ones(rest),
            [] => false,
        };
        let input = match shape {
            &[1, side, ref rest @ ..] => {
                self.form == Form::Lycoris && Some(side) == inputs && ones(rest)
            }
            _ => false,
        };
        match (output, input) {
            (true, _) => Ok(Axis::Output),
            (false, true) => Ok(Axis::Input),
            (false, false) => Err(format!(
                "made for another model: lengths of shape {shape:?}, for a weight of shape {weight:?}"
            )),
        }
    }

    /// Moves the weight, and sets its lengths.
    pub(super) fn apply(
        &self,
        file: &TensorFile,
        shape: &[usize],
        weight: Vec<f32>,
        base: Option<&[f32]>,
        Moves { delta, factor, scale }: Moves<'_>,
    ) -> Result<Vec<f32>, WeightsError> {
        let lengths = file.required_values(&self.key)?;
        let axis = self.axis(file, shape).unwrap_or(Axis::Output);
        let rows = Rows::new(shape, axis);
        match self.form {
            Form::Peft => {
                let multiplier = scale * factor;
                let norms = match base {
                    Some(base) => rows.norms(&moved(base.to_vec(), delta, multiplier)),
                    None => rows.norms(&moved(weight.clone(), delta, multiplier)),
                };
                let mut whole = moved(weight, delta, multiplier);
                rows.multiply(&mut whole, &lengths, &norms);
                Ok(whole)
            }
            Form::Lycoris => {
                let mut whole = moved(weight.clone(), delta, factor);
                let norms: Vec<f64> =
                    rows.norms(&whole).into_iter().map(|norm| norm + EPSILON).collect();
                rows.multiply(&mut whole, &lengths, &norms);
                #[expect(clippy::float_cmp, reason = "the formula without a rounding more")]
                if scale == 1.0 {
                    return Ok(whole);
                }
                for (whole, weight) in whole.iter_mut().zip(&weight) {
                    *whole -= weight;
                }
                Ok(moved(weight, &whole, scale))
            }
        }
    }
}

/// Which number of a weight belongs to which length.
struct Rows {
    /// How many lengths there are.
    count: usize,
    /// How many numbers follow one another before the next length's come.
    run: usize,
}

impl Rows {
    fn new(shape: &[usize], axis: Axis) -> Self {
        let product = |from: usize| shape.iter().skip(from).product::<usize>().max(1);
        let side = |axis: usize| shape.get(axis).copied().unwrap_or(1).max(1);
        match axis {
            Axis::Output => Self { count: side(0), run: product(1) },
            Axis::Input => Self { count: side(1), run: product(2) },
        }
    }

    /// The length of each row, summed in f64.
    fn norms(&self, values: &[f32]) -> Vec<f64> {
        let mut squares = vec![0.0_f64; self.count];
        for (run, index) in values.chunks(self.run).zip((0..self.count).cycle()) {
            let square: f64 = run.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
            squares[index] += square;
        }
        squares.into_iter().map(f64::sqrt).collect()
    }

    /// Multiplies each row by its new length over its old one.
    #[expect(clippy::cast_possible_truncation, reason = "weights are f32")]
    fn multiply(&self, values: &mut [f32], lengths: &[f32], norms: &[f64]) {
        let scales =
            lengths.iter().zip(norms).map(|(&length, norm)| (f64::from(length) / norm) as f32);
        let scales: Vec<f32> = scales.collect();
        for (run, scale) in values.chunks_mut(self.run).zip(scales.iter().cycle()) {
            for value in run {
                *value *= scale;
            }
        }
    }
}
