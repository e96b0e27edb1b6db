//! How a part's events are written down: ascending positions within the batch as ranges, `0-99,105`.

/// The ranges of `ordinals`, which must ascend.
pub(crate) fn encode(ordinals: &[u32]) -> String {
    let mut text = String::new();
    let mut rest = ordinals;
    while let Some((&first, tail)) = rest.split_first() {
        let run = tail.iter().zip(first + 1..).take_while(|(ordinal, next)| **ordinal == *next).count();
        let separator = if text.is_empty() { "" } else { "," };
        match run {
            0 => text.push_str(&format!("{separator}{first}")),
            _ => text.push_str(&format!("{separator}{first}-{}", tail[run - 1])),
        }
        rest = &tail[run..];
    }
    text
}

/// The positions, or None when `text` is no list of ascending ranges below `rows`.
pub(crate) fn decode(text: &str, rows: u32) -> Option<Vec<u32>> {
    let mut ordinals: Vec<u32> = Vec::new();
    for range in text.split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        if first > last || last >= rows || ordinals.last().is_some_and(|before| *before >= first) {
            return None;
        }
        ordinals.extend(first..=last);
    }
    Some(ordinals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_read_back_as_they_were_written() {
        for (ordinals, text) in
            [(vec![], ""), (vec![7], "7"), (vec![0, 1, 2, 3], "0-3"), (vec![0, 1, 5, 7, 8], "0-1,5,7-8")]
        {
            assert_eq!(encode(&ordinals), text);
            assert_eq!(decode(text, 9), Some(ordinals));
        }
    }

    #[test]
    fn what_does_not_ascend_is_refused() {
        for text in ["3-1", "1,1", "5,2", "x", "1-", "4294967296", "0-4294967295", "9"] {
            assert_eq!(decode(text, 9), None, "{text}");
        }
    }
}
