//! The bands, which are made up.

use jiff::Timestamp;

use crate::Id;

/// A band with the IDs of its reviews.
#[derive(Debug)]
pub(super) struct Band {
    pub(super) id: Id,
    pub(super) created: Timestamp,
    pub(super) name: &'static str,
    pub(super) reviews: [Id; 2],
}

/// All bands.
// The IDs are constants, so that the URLs in documentation and tests are valid.
pub(super) const ALL: [Band; 4] = [
    Band {
        id: Id::known(0x3f2b_8c1e_5d6a_4f7b_9c8d_1e2f_3a4b_5c6d),
        created: Timestamp::constant(1_717_236_000, 0),
        name: "The Tail Samplers",
        reviews: [
            Id::known(0x7c1d_5e90_2b4f_4a63_8d17_60f2_9b3e_a501),
            Id::known(0x1e8a_4c27_93d5_4f0b_b6a2_5d70_c418_fe02),
        ],
    },
    Band {
        id: Id::known(0x8e5d_2a90_47c1_4b3e_a6f0_9d18_c75b_e240),
        created: Timestamp::constant(1_717_839_900, 0),
        name: "Orphan Span",
        reviews: [
            Id::known(0xa5f3_0b6d_7e12_4c98_9f4e_83b1_0d2c_7603),
            Id::known(0x42b9_d7e8_15ac_4e36_a8c0_f91d_7364_5b04),
        ],
    },
    Band {
        id: Id::known(0xc604_f7b3_9e2d_4185_8f5a_b37c_06d1_4e92),
        created: Timestamp::constant(1_718_448_300, 0),
        name: "Excess Baggage",
        reviews: [
            Id::known(0xd90e_6f14_c8b3_4725_8b5d_2e07_a6f9_1c05),
            Id::known(0x6834_a2cf_b9d0_41e7_95f6_74c8_e15b_3d06),
        ],
    },
    Band {
        id: Id::known(0x19a7_e6d4_8b05_4c2f_b913_5fe0_72ac_d86b),
        created: Timestamp::constant(1_719_055_800, 0),
        name: "Head First",
        reviews: [
            Id::known(0xf76c_81b5_4d2e_4093_8a3c_b0e9_52d7_6407),
            Id::known(0x05d2_9ea7_6cf8_4b14_bd81_c36a_f094_2e08),
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reviews;

    #[test]
    fn every_review_belongs_to_one_band() {
        let mut of_bands: Vec<_> = ALL.iter().flat_map(|band| band.reviews).collect();
        let mut written: Vec<_> = reviews::known().collect();
        of_bands.sort_by_key(ToString::to_string);
        written.sort_by_key(ToString::to_string);
        assert_eq!(of_bands, written);
    }
}
