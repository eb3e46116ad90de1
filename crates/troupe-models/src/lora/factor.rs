//! A matrix of a LoRA, kept whole or as a product of smaller ones.
//!
//! A convolution kernel counts as a matrix `(out, in · kernel)`. Its Tucker form (Tucker 1966; for LoCon, LoHa and LoKr
//! appendix B of Yeh et al. 2023, arXiv:2309.14859) has a core of the size of the kernel between two matrices.

use std::fmt;

use candle_core::{Device, Tensor};

use crate::weights::{TensorFile, WeightsError};

/// A matrix or a convolution kernel; the strings are names of tensors of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Factor {
    /// As it is: `(out, in, …)`, or a vector `(out,)`.
    Whole(String),
    /// `up · down`.
    Product {
        /// Shape `(out, rank)`.
        up: String,
        /// Shape `(rank, in, …)`.
        down: String,
    },
    /// `Σ upᵒᵐ coreᵐⁿ… downⁿⁱ`.
    Tucker {
        /// Shape `(up rank, rank, …)`.
        core: String,
        /// Shape as `order` says.
        up: String,
        /// Shape `(rank, in)`.
        down: String,
        /// How `up` is written.
        order: UpOrder,
    },
}

/// How the matrix at the outputs of a Tucker form is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UpOrder {
    /// `(out, up rank)`: `lora_up` of LoCon.
    OutFirst,
    /// `(up rank, out)`: `hada_w1_a` and `lokr_w2_a` of LyCORIS.
    RankFirst,
}

/// The shape of a weight or of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) out: usize,
    pub(super) inputs: usize,
    /// The sides of the kernel without ones at the end; none of a matrix, or where they are part of `inputs`.
    pub(super) kernel: Vec<usize>,
}

/// A factor that was looked up: its shape, and the rank of a product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Measured {
    pub(super) shape: Shape,
    pub(super) rank: Option<usize>,
}

impl Shape {
    /// The shape of a tensor; `None` of one without dimensions.
    pub(super) fn of(dimensions: &[usize]) -> Option<Self> {
        let (&out, rest) = dimensions.split_first()?;
        let (inputs, kernel) = rest.split_first().unwrap_or((&1, &[]));
        Some(Self { out, inputs: *inputs, kernel: without_ones(kernel, 0).to_vec() })
    }

    /// `in · kernel`; `None` beyond what memory can hold.
    pub(super) fn columns(&self) -> Option<usize> {
        self.kernel.iter().try_fold(self.inputs, |product, &side| product.checked_mul(side))
    }

    /// Whether an update of this shape is for a weight of that one.
    pub(super) fn is_for(&self, weight: &Self) -> bool {
        let same = (self.inputs, &self.kernel) == (weight.inputs, &weight.kernel);
        let flat = self.kernel.is_empty() && weight.columns() == Some(self.inputs);
        self.out == weight.out && (same || flat)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", [&[self.out, self.inputs], self.kernel.as_slice()].concat())
    }
}

impl Factor {
    /// Checks that its tensors belong together; the error says what is wrong.
    ///
    /// A rank of zero doesn't, and so no factor is larger than the tensors that make it up or the weight that it is for.
    pub(super) fn measure(&self, file: &TensorFile) -> Result<Measured, String> {
        let shape = |key: &str| file.entry(key).map_or(&[][..], |entry| entry.shape.as_slice());
        match self {
            Self::Whole(key) => {
                let none = || format!("shape {:?}, and (out, in) was wanted", shape(key));
                Ok(Measured { shape: Shape::of(shape(key)).ok_or_else(none)?, rank: None })
            }
            Self::Product { up, down } => match (without_ones(shape(up), 2), shape(down)) {
                (&[out, rank], &[other, inputs, ref kernel @ ..]) if rank == other && 0 < rank => {
                    let kernel = without_ones(kernel, 0).to_vec();
                    Ok(Measured { shape: Shape { out, inputs, kernel }, rank: Some(rank) })
                }
                (_, down) => Err(format!(
                    "shapes {down:?} and {:?} have no rank in common, and (rank, in) and (out, rank) were wanted",
                    shape(up)
                )),
            },
            Self::Tucker { core, up, down, order } => {
                let matrices = (without_ones(shape(up), 2), without_ones(shape(down), 2));
                let wrong = || {
                    Err(format!(
                        "shapes {:?}, {:?} and {:?} have no ranks in common, and {}, (rank, rank, …) and (rank, in) were \
                         wanted",
                        shape(up),
                        shape(core),
                        shape(down),
                        match order {
                            UpOrder::OutFirst => "(out, rank)",
                            UpOrder::RankFirst => "(rank, out)",
                        }
                    ))
                };
                let (&[first, second], &[down_rank, inputs]) = matrices else { return wrong() };
                let &[up_rank, rank, ref kernel @ ..] = shape(core) else { return wrong() };
                let (out, of_up) = match order {
                    UpOrder::OutFirst => (first, second),
                    UpOrder::RankFirst => (second, first),
                };
                if up_rank != of_up || rank != down_rank || up_rank == 0 || rank == 0 {
                    return wrong();
                }
                let kernel = without_ones(kernel, 0).to_vec();
                Ok(Measured { shape: Shape { out, inputs, kernel }, rank: Some(rank) })
            }
        }
    }

    /// The matrix.
    ///
    /// Shape `(out, in · kernel)`.
    pub(super) fn matrix(&self, file: &TensorFile) -> Result<Tensor, WeightsError> {
        match self {
            Self::Whole(key) => read(file, key, 1),
            Self::Product { up, down } => {
                let product = read(file, up, 1)?.matmul(&read(file, down, 1)?);
                product.map_err(|source| file.tensor_error(down, source))
            }
            Self::Tucker { core, up, down, order } => {
                let up_matrix = read(file, up, 1)?;
                let up_matrix = match order {
                    UpOrder::OutFirst => Ok(up_matrix),
                    UpOrder::RankFirst => up_matrix.t(),
                };
                let tucker = tucker(
                    &read(file, core, 2)?,
                    &up_matrix.map_err(|source| file.tensor_error(up, source))?,
                    &read(file, down, 1)?,
                );
                tucker.map_err(|source| file.tensor_error(core, source))
            }
        }
    }

    /// The names of its tensors.
    pub(super) fn keys(&self) -> Vec<&str> {
        match self {
            Self::Whole(key) => vec![key],
            Self::Product { up, down } => vec![down, up],
            Self::Tucker { core, up, down, .. } => vec![down, up, core],
        }
    }
}

/// `core` between `up` and `down`, with the matrix first that leaves less: of the two intermediates the smaller has no
/// more elements than the core or the result, for their product is that of those two.
///
/// Shapes `(up rank, rank, kernel)`, `(out, up rank)`, `(rank, in)` → `(out, in · kernel)`.
fn tucker(core: &Tensor, up: &Tensor, down: &Tensor) -> candle_core::Result<Tensor> {
    let (up_rank, rank, kernel) = core.dims3()?;
    let (out, inputs) = (up.dim(0)?, down.dim(1)?);
    let times_down = |left: &Tensor, rows: usize| {
        let left = left.permute((0, 2, 1))?.reshape((rows * kernel, rank))?;
        let product = left.matmul(&down.contiguous()?)?.reshape((rows, kernel, inputs))?;
        product.permute((0, 2, 1))?.reshape((rows, inputs * kernel))
    };
    if out.saturating_mul(rank) <= up_rank.saturating_mul(inputs) {
        let left = up.contiguous()?.matmul(&core.reshape((up_rank, rank * kernel))?)?;
        times_down(&left.reshape((out, rank, kernel))?, out)
    } else {
        up.contiguous()?.matmul(&times_down(core, up_rank)?)
    }
}

/// A tensor of the file with all dimensions from `kept` on in one.
fn read(file: &TensorFile, key: &str, kept: usize) -> Result<Tensor, WeightsError> {
    let values = file.required_values(key)?;
    let shape = file.entry(key).map_or(&[][..], |entry| entry.shape.as_slice());
    let (first, rest) = shape.split_at(kept.min(shape.len()));
    let mut dimensions = first.to_vec();
    dimensions.push(rest.iter().product());
    Tensor::from_vec(values, dimensions, &Device::Cpu)
        .map_err(|source| file.tensor_error(key, source))
}

/// A shape without the ones at its end; the first dimensions stay, so many.
fn without_ones(shape: &[usize], kept: usize) -> &[usize] {
    let ones = shape.iter().skip(kept).rev().take_while(|&&side| side == 1).count();
    &shape[..shape.len() - ones]
}
