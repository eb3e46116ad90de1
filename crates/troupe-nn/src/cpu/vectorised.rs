//! Loops that are compiled for several instruction sets, of which one is picked at run time.

use pulp::{Arch, WithSimd};

/// Calls `function` as compiled for the best instruction set that the processor has.
///
/// What is not inlined into `function` is compiled for the oldest processors, so `function` and
/// what it calls must be `#[inline(always)]`. It has to be an `FnMut` that is no `Fn`: the compiler
/// puts a call that is never inlined around a closure that is more than the trait asks for.
#[inline]
pub(super) fn vectorised(function: impl FnMut()) {
    Arch::new().dispatch(Loop(function));
}

struct Loop<F>(F);

impl<F: FnMut()> WithSimd for Loop<F> {
    type Output = ();

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "must be compiled for its caller's instruction set")]
    fn with_simd<S: pulp::Simd>(mut self, _: S) {
        (self.0)();
    }
}
