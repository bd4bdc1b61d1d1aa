//! Sorting where few elements come, or nothing waits: in place, and 300 bytes of code for each type. The standard
//! library's sorts are faster on thousands of elements, and 4 KB (`sort_unstable`) or 6 KB (`sort`) for each type. Pure.

/// Sorts by heap: at most 2 n log n comparisons, whatever the order before. Of elements that are equal, any comes first.
pub fn sort_by<T>(items: &mut [T], mut less: impl FnMut(&T, &T) -> bool) {
    // While they are made a heap none has left it; then its greatest goes behind the rest, again and again.
    for step in (1..items.len() + items.len() / 2).rev() {
        let (at, end) = match step.checked_sub(items.len()) {
            Some(at) => (at, items.len()),
            None => {
                items.swap(0, step);
                (0, step)
            }
        };
        sink(&mut items[..end], at, &mut less);
    }
}

/// Sorts what has an order.
pub fn sort<T: Ord>(items: &mut [T]) {
    sort_by(items, T::lt);
}

/// Exchanges the element at `at` with the greater of its two children until neither is greater than it.
fn sink<T>(heap: &mut [T], mut at: usize, less: &mut impl FnMut(&T, &T) -> bool) {
    loop {
        let mut child = 2 * at + 1;
        if child + 1 < heap.len() && less(&heap[child], &heap[child + 1]) {
            child += 1;
        }
        if child >= heap.len() || !less(&heap[at], &heap[child]) {
            return;
        }
        heap.swap(at, child);
        at = child;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn elements_come_in_order(mut items in proptest::collection::vec(0..50_u8, 0..70)) {
            let mut expected = items.clone();
            expected.sort_unstable();
            sort(&mut items);
            prop_assert_eq!(&items, &expected);
            expected.reverse();
            sort_by(&mut items, |a, b| a > b);
            prop_assert_eq!(items, expected);
        }
    }
}
