//! Tensors in the precision of their files, whose pages may go once they are read.

use std::sync::Mutex;

use candle_core::DType;

use super::*;

#[test]
fn what_is_stored_keeps_its_precision() {
    let weights = open(small()).unwrap().at("block");
    let stored = |name: &str, shape: &[usize]| {
        let tensor = weights.stored(name, shape).unwrap();
        let wide = tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap();
        assert_eq!(wide.to_vec1::<f32>().unwrap(), values(&weights, name, shape));
        tensor.dtype()
    };
    assert_eq!(stored("0.weight", &[3, 1]), DType::F32);
    assert_eq!(stored("0.bias", &[2]), DType::F16);
    assert_eq!(stored("1.weight", &[1, 2]), DType::BF16);
    assert!(weights.stored("0.bias", &[1]).is_err());
    assert!(weights.stored("2.bias", &[2]).is_err());
}

/// A file that knows what of it was released.
struct Released(Vec<u8>, Mutex<Vec<Range<usize>>>);

impl AsRef<[u8]> for Released {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Contents for Released {
    fn release(&self, range: Range<usize>) {
        self.1.lock().unwrap().push(range);
    }
}

#[test]
fn what_was_read_is_released() {
    let file = Arc::new(Released(small(), Mutex::default()));
    let weights = Weights::new("x.safetensors", file.clone()).unwrap();
    weights.stored("block.0.bias", &[2]).unwrap();
    weights.get("block.0.weight", &[3, 1]).unwrap();
    let released: Vec<usize> = file.1.lock().unwrap().iter().map(Range::len).collect();
    assert_eq!(released, [4, 12]);
}

#[test]
fn what_is_kept_in_another_precision_is_nearest_to_what_it_was() {
    let numbers = [1.0 + 2.0_f32.powi(-9), -3.0, 1e-8, 65504.0];
    let kept = |numbers: [f32; 4], precision| {
        let bytes = numbers.map(f32::to_le_bytes).concat();
        let tensor = TensorView::new(Dtype::F32, vec![4], &bytes).unwrap();
        let file = safetensors::serialize([("w", tensor)], None).unwrap();
        let weights = open(file).unwrap().kept_in(precision);
        let tensor = weights.stored("w", &[4]).unwrap();
        let wide = tensor.to_dtype(DType::F32).unwrap().to_vec1::<f32>().unwrap();
        (tensor.dtype(), wide)
    };
    let (dtype, found) = kept(numbers, Precision::Bf16);
    // Eight bits of a number, of which the first isn't written.
    let brain: Vec<f32> = numbers.map(|it| bf16::from_f32(it).to_f32()).to_vec();
    assert_eq!((dtype, &found), (DType::BF16, &brain));
    assert_eq!((found[0], found[3]), (1.0, 65536.0));
    assert_eq!(kept(numbers, Precision::F16), (DType::F16, vec![numbers[0], -3.0, 0.0, 65504.0]));
    assert_eq!(kept(numbers, Precision::F32), (DType::F32, numbers.to_vec()));
    assert_eq!(kept(numbers, Precision::Stored), (DType::F32, numbers.to_vec()));

    let too_large = [1.0_f32, 70_000.0, 0.0, 0.0];
    assert_eq!(kept(too_large, Precision::F16), (DType::F32, too_large.to_vec()));
}
