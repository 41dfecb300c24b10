use reqwest::Response;

use crate::running::{Gateway, both, json};

const FORM: &str = "application/x-www-form-urlencoded";

async fn html(response: Response) -> (u16, String) {
    assert_eq!(
        response.headers()["content-type"],
        "text/html; charset=utf-8"
    );
    let policy = response.headers()["content-security-policy"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    (response.status().as_u16(), response.text().await.unwrap())
}

async fn post(gateway: &Gateway, path: &str, body: &str) -> Response {
    gateway.post(path, FORM, body).send().await.unwrap()
}

/// The target of a redirect.
fn redirect(response: &Response) -> String {
    assert_eq!(response.status(), 303);
    response.headers()["location"].to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_redirect_to_the_page_with_the_trace() {
    let (_wishlist, gateway) = both().await;
    let added = post(&gateway, "/wishes", "name=a+red+bike").await;
    let trace = added.headers()["x-trace-id"].to_str().unwrap().to_owned();
    let back = redirect(&added);
    assert_eq!(back, format!("/?done=added&trace={trace}"));

    let (status, page) = html(gateway.get(&back).await).await;
    assert_eq!(status, 200);
    assert!(
        page.contains("a red bike") && page.contains("Added to your wishes."),
        "{page}"
    );
    assert!(
        page.contains(&format!("href=\"http://traces.example/trace/{trace}\"")),
        "{page}"
    );

    let (_, after) = page.split_once("action=\"/wishes/").unwrap();
    let (id, _) = after.split_once("/delete\"").unwrap();
    let back = redirect(&post(&gateway, &format!("/wishes/{id}/delete"), "").await);
    let (_, page) = html(gateway.get(&back).await).await;
    assert!(
        !page.contains("a red bike") && page.contains("Nothing here yet"),
        "{page}"
    );

    let (status, page) = html(post(&gateway, &format!("/wishes/{id}/delete"), "").await).await;
    assert_eq!(status, 404);
    assert!(page.contains("This wish was already deleted."), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_are_escaped() {
    let (_wishlist, gateway) = both().await;
    let name = "%3C%2Fspan%3E%3Cscript%3Ealert%28%22x%22%29%3C%2Fscript%3E%22+onclick%3D%22y";
    redirect(&post(&gateway, "/wishes", &format!("name={name}")).await);
    let (_, page) = html(gateway.get("/").await).await;
    assert!(page.contains("&lt;script&gt;alert("), "{page}");
    assert!(
        !page.contains("<script>") && !page.contains("\" onclick=\""),
        "{page}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_redirect_parameters_are_harmless() {
    let (_wishlist, gateway) = both().await;
    let (status, page) = html(gateway.get("/?done=added&trace=%22%3E%3Cscript%3E").await).await;
    assert_eq!(status, 200);
    assert!(!page.contains("<script>"), "{page}");
    let (status, _) = html(gateway.get("/?done=nonsense").await).await;
    assert_eq!(status, 200);
}

#[rstest::rstest]
#[case("name=", 422, "The name must not be empty.")]
#[case("", 422, "The name must not be empty.")]
#[case("name=a%00b", 422, "without control characters")]
#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_name_is_refused(#[case] body: &str, #[case] status: u16, #[case] part: &str) {
    let (_wishlist, gateway) = both().await;
    let (actual, page) = html(post(&gateway, "/wishes", body).await).await;
    assert_eq!(actual, status);
    assert!(
        page.contains(part) && page.contains("aria-invalid"),
        "{page}"
    );
}

#[rstest::rstest]
#[case("application/json", "{}".into(), 415)]
#[case(FORM, format!("name={}", "x".repeat(9000)), 413)]
#[case(FORM, format!("name={}", "x".repeat(201)), 422)]
#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_not_forms_are_refused(
    #[case] kind: &str,
    #[case] body: String,
    #[case] status: u16,
) {
    let (_wishlist, gateway) = both().await;
    let response = gateway.post("/wishes", kind, body).send().await.unwrap();
    assert_eq!(html(response).await.0, status);
}

#[rstest::rstest]
#[case("sec-fetch-site", "cross-site")]
#[case("origin", "http://evil.example")]
#[tokio::test(flavor = "multi_thread")]
async fn cross_site_requests_are_refused(#[case] header: &str, #[case] value: &str) {
    let (_wishlist, gateway) = both().await;
    let from_there = gateway
        .post("/wishes", FORM, "name=malware")
        .header(header, value);
    assert_eq!(json(from_there.send().await.unwrap()).await.0, 403);
    let (_, page) = html(gateway.get("/").await).await;
    assert!(!page.contains("malware"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_wishlist_the_page_has_a_notice() {
    let gateway = Gateway::alone().await;
    let (status, page) = html(gateway.get("/").await).await;
    assert_eq!(status, 503);
    assert!(page.contains("The wishlist cannot be reached"), "{page}");
    let (status, page) = html(post(&gateway, "/wishes", "name=a+kite").await).await;
    assert_eq!(status, 503);
    assert!(
        page.contains("value=\"a kite\""),
        "what was typed is not lost: {page}"
    );
}

#[rstest::rstest]
#[case("/style.css", "text/css; charset=utf-8")]
#[case("/offers.js", "text/javascript; charset=utf-8")]
#[case("/icon.svg", "image/svg+xml")]
#[tokio::test(flavor = "multi_thread")]
async fn assets_have_their_content_type(#[case] path: &str, #[case] kind: &str) {
    let gateway = Gateway::alone().await;
    let response = gateway.get(path).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], kind);
}
