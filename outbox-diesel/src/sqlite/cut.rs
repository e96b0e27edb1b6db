//! Cutting a run of rows into batches.

/// A batch to be: the rows after `lo` up to and with `hi`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub lo: i64,
    pub hi: i64,
    pub rows: i64,
    pub bytes: i64,
}

/// Cuts rows of `(seq, bytes)` in ascending order, the first of them after `lo`, into batches of at most `rows_max` rows;
/// a batch ends with the row that makes it reach `bytes_max`.
pub(super) fn cut(mut lo: i64, rows: &[(i64, i64)], rows_max: u32, bytes_max: u64) -> Vec<Cut> {
    let mut cuts = Vec::new();
    let mut batch = Cut { lo, hi: lo, rows: 0, bytes: 0 };
    for &(seq, bytes) in rows {
        batch = Cut { hi: seq, rows: batch.rows + 1, bytes: batch.bytes + bytes, ..batch };
        if batch.rows >= i64::from(rows_max) || batch.bytes.unsigned_abs() >= bytes_max {
            lo = batch.hi;
            cuts.push(std::mem::replace(&mut batch, Cut { lo, hi: lo, rows: 0, bytes: 0 }));
        }
    }
    if batch.rows > 0 {
        cuts.push(batch);
    }
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_exactly_one_batch() {
        let rows: Vec<(i64, i64)> = [(3, 10), (4, 10), (7, 100), (9, 10), (10, 10)].into();
        assert_eq!(
            cut(2, &rows, 2, 100),
            [
                Cut { lo: 2, hi: 4, rows: 2, bytes: 20 },
                Cut { lo: 4, hi: 7, rows: 1, bytes: 100 },
                Cut { lo: 7, hi: 10, rows: 2, bytes: 20 },
            ]
        );
        assert_eq!(cut(2, &[], 2, 100), []);
    }
}
