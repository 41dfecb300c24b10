use spoor_testing::infrastructure::{assert_healthy, assert_listed, metrics};

use crate::running::Wishlist;

const NAME: &str = "spoor.wishlist.v1.Wishlist";

#[tokio::test(flavor = "multi_thread")]
async fn wishlist_is_healthy_says_what_it_offers_and_has_an_operators_port() {
    let wishlist = Wishlist::on("sqlite::memory:").await;
    assert_healthy(wishlist.address, NAME).await;
    assert_listed(wishlist.address, NAME).await;
    metrics(wishlist.ops).await;
}
