use crate::running::preprocessing;
use spoor_testing::unused_address;

#[rstest::rstest]
#[case("/", "text/html; charset=utf-8", "type=\"file\"")]
#[case("/page.css", "text/css; charset=utf-8", "body")]
#[case("/page.js", "text/javascript; charset=utf-8", "fetch(\"/classify\"")]
#[tokio::test(flavor = "multi_thread")]
async fn the_page_and_its_assets_are_served(
    #[case] path: &str,
    #[case] kind: &str,
    #[case] has: &str,
) {
    let preprocessing = preprocessing(unused_address(), &[]).await;
    let url = format!("http://{}{path}", preprocessing.address);
    let response = reqwest::get(url).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], kind);
    let policy = response.headers()["content-security-policy"]
        .to_str()
        .unwrap();
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    let body = response.text().await.unwrap();
    assert!(body.contains(has), "{body}");
    assert!(!body.contains("innerHTML"), "{body}");
}

#[rstest::rstest]
#[case("GET", "/classify", 405)]
#[case("POST", "/", 405)]
#[case("GET", "/elsewhere", 404)]
#[tokio::test(flavor = "multi_thread")]
async fn unknown_paths_and_methods_return_problems(
    #[case] method: &str,
    #[case] path: &str,
    #[case] status: u16,
) {
    let preprocessing = preprocessing(unused_address(), &[]).await;
    let url = format!("http://{}{path}", preprocessing.address);
    let request = reqwest::Client::new().request(method.parse().unwrap(), url);
    let (actual, problem) = spoor_testing::json(request.send().await.unwrap()).await;
    assert_eq!(actual, status, "{problem}");
}
