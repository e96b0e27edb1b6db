//! Cutting a run of events into batches.

/// How many events of these sizes the first batch takes: at most `rows_max`, and no more once they reach `bytes_max`. One at
/// least, where there is one.
pub(crate) fn first(bytes: impl Iterator<Item = i64>, rows_max: u32, bytes_max: u64) -> usize {
    let (mut rows, mut sum) = (0, 0_u64);
    for bytes in bytes {
        rows += 1;
        sum = sum.saturating_add(bytes.unsigned_abs());
        if rows >= rows_max.max(1) as usize || sum >= bytes_max {
            break;
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_ends_with_the_row_that_reaches_a_limit() {
        let first = |sizes: &[i64], rows, bytes| first(sizes.iter().copied(), rows, bytes);
        assert_eq!(first(&[10, 10, 100, 10], 2, 100), 2);
        assert_eq!(first(&[10, 10, 100, 10], 9, 100), 3);
        assert_eq!(first(&[500, 1], 9, 100), 1);
        assert_eq!(first(&[1, 1], 9, 100), 2);
        assert_eq!(first(&[], 9, 100), 0);
        assert_eq!(first(&[1, 1], 0, 0), 1, "limits of zero do not stand still");
    }
}
