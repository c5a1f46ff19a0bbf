//! Gzip's checksum, CRC-32, four bytes at a time.

/// By byte, what it adds to the sum once so many bytes more were read.
static TABLES: [[u32; 256]; 4] = tables();

/// A checksum in the making.
#[derive(Clone, Copy, Debug)]
pub struct Crc(u32);

impl Default for Crc {
    fn default() -> Self {
        Self(u32::MAX)
    }
}

impl Crc {
    pub fn update(&mut self, bytes: &[u8]) {
        let [one, two, three, four] = &TABLES;
        let (words, rest) = bytes.as_chunks::<4>();
        let mut crc = self.0;
        for word in words {
            let [a, b, c, d] = (crc ^ u32::from_le_bytes(*word)).to_le_bytes();
            crc = four[usize::from(a)]
                ^ three[usize::from(b)]
                ^ two[usize::from(c)]
                ^ one[usize::from(d)];
        }
        for byte in rest {
            let [a, ..] = crc.to_le_bytes();
            crc = crc >> 8 ^ one[usize::from(a ^ byte)];
        }
        self.0 = crc;
    }

    /// The checksum of all that was read.
    pub fn sum(self) -> u32 {
        !self.0
    }
}

const fn tables() -> [[u32; 256]; 4] {
    let mut tables = [[0; 256]; 4];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut later = 1;
    while later < 4 {
        let mut byte = 0;
        while byte < 256 {
            let crc = tables[later - 1][byte];
            tables[later][byte] = crc >> 8 ^ tables[0][(crc & 0xFF) as usize];
            byte += 1;
        }
        later += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_the_usual_one_in_any_pieces() {
        let content = b"123456789";
        for cut in 0..=content.len() {
            let mut crc = Crc::default();
            let (first, rest) = content.split_at(cut);
            crc.update(first);
            crc.update(rest);
            assert_eq!(crc.sum(), 0xCBF4_3926);
        }
    }
}
