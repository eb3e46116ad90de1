//! Compares numbers with goldens and says where they first differ; a dev-dependency only.
//!
//! A golden is a safetensors file below `tests/golden`, made by a script of `tests/reference`.
//! The measure is the relative error `‖a − b‖₂ / ‖b‖₂`, in which a mistake in one element of a
//! thousand shows, and the rounding of a long sum doesn't. Everything here panics where it
//! can't go on: it is called by tests only.

use std::fmt::Write;
use std::fs;
use std::panic::Location;
use std::path::{Path, PathBuf};

use half::f16;
use safetensors::{Dtype, SafeTensors};

/// The tensors of one golden file, by name.
pub struct Golden {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Golden {
    /// Reads a safetensors file, in most tests `Golden::read(golden_path("topic/file.safetensors"))`.
    ///
    /// # Panics
    ///
    /// If the file can't be read or isn't in the safetensors format.
    pub fn read(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref().to_path_buf();
        let bytes = fs::read(&path).unwrap_or_else(|error| fail(&path, &error.to_string()));
        let golden = Self { path, bytes };
        golden.file(); // A broken file is reported here and not at the first tensor.
        golden
    }

    /// The values in row-major order, and the shape; f16, i32 and i64 become f32.
    ///
    /// # Panics
    ///
    /// If there is no such tensor, if it has another element type, or if an integer isn't
    /// exact in f32.
    #[expect(clippy::wildcard_enum_match_arm, reason = "a golden holds these types and no other")]
    pub fn tensor(&self, name: &str) -> (Vec<f32>, Vec<usize>) {
        let file = self.file();
        let Ok(view) = file.tensor(name) else {
            fail(&self.path, &format!("no tensor `{name}`, there are: {}", self.names().join(", ")))
        };
        let data = view.data();
        let exact = |value: i64| {
            integer_to_f32(value).unwrap_or_else(|| {
                fail(&self.path, &format!("{value} in `{name}` isn't exact in f32"))
            })
        };
        let values = match view.dtype() {
            Dtype::F32 => data.as_chunks().0.iter().map(|&le| f32::from_le_bytes(le)).collect(),
            Dtype::F16 => {
                data.as_chunks().0.iter().map(|&le| f16::from_le_bytes(le).to_f32()).collect()
            }
            Dtype::I32 => {
                data.as_chunks().0.iter().map(|&le| exact(i32::from_le_bytes(le).into())).collect()
            }
            Dtype::I64 => {
                data.as_chunks().0.iter().map(|&le| exact(i64::from_le_bytes(le))).collect()
            }
            other => fail(&self.path, &format!("`{name}` is {other:?}, not F32, F16, I32 or I64")),
        };
        (values, view.shape().to_vec())
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.file().names().into_iter().map(str::to_owned).collect();
        names.sort_unstable();
        names
    }

    fn file(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes)
            .unwrap_or_else(|error| fail(&self.path, &error.to_string()))
    }
}

/// Where a golden lies: `golden_path("sampler/sampler.safetensors")` is that file below the
/// repository's `tests/golden`, whichever crate asks.
pub fn golden_path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(relative)
}

/// `‖a − b‖₂ / ‖b‖₂`, summed in f64; `b` is the reference.
///
/// Zero where both are all zeros, infinite where only `b` is, NaN where a value is NaN.
///
/// # Panics
///
/// If the lengths differ.
pub fn relative_error(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len(), "the lengths of the two sides of a comparison");
    let norm = |squares: f64| squares.sqrt();
    let difference =
        norm(a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum());
    let reference = norm(b.iter().map(|&b| f64::from(b).powi(2)).sum());
    if difference == 0.0 { 0.0 } else { difference / reference }
}

/// Asserts that the relative error of `actual` to `expected` is at most `tolerance`.
///
/// `expected` is what [`Golden::tensor`] returns: the values, and the shape in which a failure
/// says where the first and the greatest differences are. With `--nocapture` the error is seen, and
/// `tests/reference/parity.py` makes a table of it.
///
/// # Panics
///
/// If the error is greater or NaN, or the number of elements differs.
#[track_caller]
pub fn assert_close(name: &str, actual: &[f32], expected: &(Vec<f32>, Vec<usize>), tolerance: f64) {
    if let Err(complaint) = compare(name, actual, expected, tolerance) {
        raise(&complaint);
    }
    show(Location::caller().file(), name, relative_error(actual, &expected.0), tolerance);
}

#[expect(clippy::print_stdout, reason = "a test's output, shown only when asked for")]
fn show(file: &str, name: &str, error: f64, tolerance: f64) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("main");
    println!("parity close | {file} | {test} | {name} | {error:.1e} | {tolerance:.0e} |");
}

/// The comparison behind [`assert_close`]; the error is its message.
fn compare(
    name: &str,
    actual: &[f32],
    (expected, shape): &(Vec<f32>, Vec<usize>),
    tolerance: f64,
) -> Result<(), String> {
    if actual.len() != expected.len() {
        return Err(format!(
            "`{name}` has {} elements, expected {} in shape {shape:?}",
            actual.len(),
            expected.len()
        ));
    }
    let error = relative_error(actual, expected);
    if error <= tolerance {
        return Ok(());
    }

    // An element counts as different where its own error is above the tolerance times the
    // root mean square of the reference; at least one is, since the whole is.
    let differences: Vec<f64> = actual
        .iter()
        .zip(expected)
        .map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs())
        .map(|difference| if difference.is_nan() { f64::INFINITY } else { difference })
        .collect();
    let squares: f64 = expected.iter().map(|&b| f64::from(b).powi(2)).sum();
    // (`max` turns the NaN of a reference that holds one into zero.)
    let allowed = (tolerance * (squares / count(expected.len())).sqrt()).max(0.0);
    let differing = |difference: &&f64| allowed < **difference;
    let first = differences.iter().position(|difference| differing(&difference));
    let most = (0..differences.len()).max_by(|&a, &b| differences[a].total_cmp(&differences[b]));

    let mut complaint = format!(
        "`{name}` has relative error {error:.3e}, at most {tolerance:.0e} is allowed; {} of {} elements differ",
        differences.iter().filter(differing).count(),
        expected.len(),
    );
    for (which, flat) in [("first", first), ("most", most)] {
        if let Some(flat) = flat {
            let place = multi_index(flat, shape);
            let (found, wanted) = (actual[flat], expected[flat]);
            write!(complaint, "\n  {which} at {place:?}: expected {wanted:e}, got {found:e}")
                .map_err(|error| error.to_string())?;
        }
    }
    Err(complaint)
}

/// The index along each axis of the element at `flat` in row-major order.
fn multi_index(flat: usize, shape: &[usize]) -> Vec<usize> {
    let mut rest = flat;
    let mut index: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&size| {
            let along = rest % size.max(1);
            rest /= size.max(1);
            along
        })
        .collect();
    index.reverse();
    index
}

/// `None` beyond the 24 bits that f32 holds exactly.
fn integer_to_f32(value: i64) -> Option<f32> {
    #[expect(clippy::cast_precision_loss, reason = "the range is checked first")]
    (value.unsigned_abs() <= 1 << 24).then_some(value as f32)
}

#[expect(clippy::cast_precision_loss, reason = "a golden has fewer than 2⁵³ elements")]
fn count(elements: usize) -> f64 {
    elements as f64
}

fn fail(path: &Path, complaint: &str) -> ! {
    raise(&format!("golden {}: {complaint}", path.display()))
}

#[track_caller]
#[expect(clippy::panic, reason = "a failed comparison fails the test that made it")]
fn raise(complaint: &str) -> ! {
    panic!("{complaint}")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::panic::catch_unwind;

    use safetensors::serialize;
    use safetensors::tensor::TensorView;

    use super::*;

    #[test]
    fn relative_error_is_the_ratio_of_the_norms() {
        assert!((relative_error(&[3.0, 4.5], &[3.0, 4.0]) - 0.1).abs() < 1e-12);
        assert!(relative_error(&[0.0], &[0.0]) <= 0.0);
        assert!(relative_error(&[1.0], &[0.0]).is_infinite());
        assert!(relative_error(&[f32::NAN], &[1.0]).is_nan());
    }

    #[test]
    fn a_failure_says_the_first_and_the_greatest_difference() {
        let expected = (vec![1.0_f32; 24], vec![2, 3, 4]);
        let mut actual = expected.0.clone();
        assert_eq!(compare("x", &actual, &expected, 0.0), Ok(()));
        actual[5] = 1.5;
        actual[23] = 3.0;
        let complaint = compare("x", &actual, &expected, 1e-4).unwrap_err();
        let expected_message = "`x` has relative error 4.208e-1, at most 1e-4 is allowed; 2 of 24 elements differ\
            \n  first at [0, 1, 1]: expected 1e0, got 1.5e0\
            \n  most at [1, 2, 3]: expected 1e0, got 3e0";
        assert_eq!(complaint, expected_message);
        assert_eq!(compare("x", &actual, &expected, 0.43), Ok(()));
    }

    #[test]
    fn nan_and_other_lengths_are_never_close() {
        let expected = (vec![1.0, 1.0], vec![2]);
        assert!(
            compare("x", &[1.0, f32::NAN], &expected, 1e9).unwrap_err().contains("most at [1]")
        );
        assert!(
            compare("x", &[1.0], &expected, 1e9).unwrap_err().contains("1 elements, expected 2")
        );
        assert!(catch_unwind(|| assert_close("x", &[1.0], &(vec![2.0], vec![1]), 0.1)).is_err());
    }

    #[test]
    fn every_element_type_becomes_f32() {
        let half: Vec<u8> =
            [1.5_f32, -2.0].map(f16::from_f32).iter().flat_map(|v| v.to_le_bytes()).collect();
        let single: Vec<u8> = [0.1_f32, 7.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let long: Vec<u8> = [-3_i64, 1 << 24].iter().flat_map(|v| v.to_le_bytes()).collect();
        let short: Vec<u8> = [5_i32, -6].iter().flat_map(|v| v.to_le_bytes()).collect();
        let too_long: Vec<u8> = ((1_i64 << 24) + 1).to_le_bytes().to_vec();
        let view =
            |dtype, shape: &[usize], data| TensorView::new(dtype, shape.to_vec(), data).unwrap();
        let file = serialize(
            HashMap::from([
                ("half", view(Dtype::F16, &[2], &half)),
                ("single", view(Dtype::F32, &[1, 2], &single)),
                ("long", view(Dtype::I64, &[2], &long)),
                ("short", view(Dtype::I32, &[2], &short)),
                ("too_long", view(Dtype::I64, &[1], &too_long)),
            ]),
            None,
        );
        let golden = Golden { path: "memory".into(), bytes: file.unwrap() };

        assert_eq!(golden.tensor("half"), (vec![1.5, -2.0], vec![2]));
        assert_eq!(golden.tensor("single"), (vec![0.1, 7.0], vec![1, 2]));
        assert_eq!(golden.tensor("long"), (vec![-3.0, 16_777_216.0], vec![2]));
        assert_eq!(golden.tensor("short"), (vec![5.0, -6.0], vec![2]));
        assert_eq!(golden.names(), ["half", "long", "short", "single", "too_long"]);
        assert!(catch_unwind(|| golden.tensor("too_long")).is_err());
        assert!(catch_unwind(|| golden.tensor("absent")).is_err());
    }
}
