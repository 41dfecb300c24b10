use spoor_testing::infrastructure::{assert_healthy, assert_listed, metrics};

use crate::running::Wishlist;

const NAME: &str = "spoor.wishlist.v1.Wishlist";

#[tokio::test(flavor = "multi_thread")]
async fn wishlist_has_health_reflection_and_ops() {
    let wishlist = Wishlist::on("sqlite::memory:").await;
    assert_healthy(wishlist.address, NAME).await;
    assert_listed(wishlist.address, NAME).await;
    metrics(wishlist.ops).await;
}
