"""Logging in to the page at a provider: a test is the browser, and the people at the provider."""

import http.cookies
import threading
import time
import urllib.parse

import pytest

from support.authorization_server import token
from support.broker import Leveret
from support.deadline import eventually
from support.login_provider import CLIENT, SECRET, LoginProvider
from support.management import Api, api_of
from tls.authority import Authority

pytestmark = pytest.mark.own_broker

BEGIN, BACK = "/api/login/oauth", "/api/login/oauth/callback"


@pytest.fixture(scope="module")
def provider():
    """One that answers."""
    with LoginProvider() as found:
        yield found


def settings(provider, **changes):
    """Settings of a broker whose page has a provider; names are those of `http.oauth`, or whole ones."""
    made = {
        "auth.backends": "internal,oauth2",
        "auth.failed_login_delay": "0",
        "auth.oauth2.resource_server_id": "rabbitmq",
        "auth.oauth2.issuer": provider.issuer,
        "auth.oauth2.leeway": "0",
        "auth.oauth2.timeout": "1s",
        "auth.oauth2.refresh_min": "100ms",
        "log.level": "trace",
        "http.oauth.enabled": "true",
        "http.oauth.client_id": CLIENT,
        "http.oauth.client_secret": provider.secret,
        "http.oauth.label": "<b>Keycloak</b>",
    }
    return made | {name if "." in name else f"http.oauth.{name}": value for name, value in changes.items()}


@pytest.fixture(scope="module")
def shared(provider):
    with Leveret(settings(provider)) as broker:
        yield broker


@pytest.fixture
def api(shared, provider):
    """As nobody in particular sees it."""
    provider.claims = {"scope": "rabbitmq.tag:administrator"}
    with api_of(shared) as found, found.by(None) as nobody:
        yield nobody


class Browser:
    """Cookies, and where it is sent."""

    def __init__(self, api: Api):
        self.api = api
        self.cookies = {}
        self.morsels = {}

    def get(self, target, **headers):
        """An answer, whose cookies are kept."""
        shown = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = self.api.send("GET", target, headers={"Cookie": shown} | headers)
        for text in answer.headers.get_all("set-cookie", []):
            for name, morsel in http.cookies.SimpleCookie(text).items():
                self.morsels[name] = morsel
                if morsel["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value
        return answer

    def begin(self):
        """To the provider: the URL there."""
        answer = self.get(BEGIN)
        assert answer.status == 303 and answer.body == b"", answer
        return answer.headers["location"]

    def come_back(self, url):
        """From the provider: where on the page it leads."""
        parts = urllib.parse.urlsplit(url)
        assert parts.netloc == f"{self.api.host}:{self.api.port}"
        answer = self.get(f"{parts.path}?{parts.query}")
        assert answer.status == 303 and answer.body == b"", answer
        assert answer.headers["cache-control"] == "no-cache, no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        return answer.headers["location"]

    def log_in(self, provider):
        """All of it."""
        return self.come_back(provider.approve(self.begin()))

    def whoami(self):
        """Whom the broker knows it for."""
        return self.get("/api/whoami")


def test_who_logs_in_at_the_provider_gets_a_session(shared, api, provider):
    assert api.read("auth") == {"oauth_enabled": True, "oauth_label": "<b>Keycloak</b>"}
    browser = Browser(api)
    url = browser.begin()
    asked = provider.asked(url)
    assert asked["scope"] == "openid profile"
    assert asked["redirect_uri"] == f"{api.url}{BACK}"
    [(name, sent)] = browser.morsels.items()
    assert name == f"leveret_login_{api.port}" and sent["httponly"] and sent["samesite"] == "Lax" and not sent["secure"]
    assert sent["path"] == BACK and sent["max-age"] == "600"
    assert asked["state"] not in sent.value
    assert browser.come_back(provider.approve(url)) == "/"
    assert provider.forms[-1].keys() == {"grant_type", "code", "redirect_uri", "code_verifier"}
    assert list(browser.cookies) == [f"leveret_session_{api.port}"], "that of the login is gone"
    kept = browser.morsels[f"leveret_session_{api.port}"]
    assert kept["httponly"] and kept["samesite"] == "Strict" and kept["path"] == "/"
    assert 50 < int(kept["max-age"]) <= 60, "it does not outlive the token"
    who = browser.whoami().json
    assert (who["name"], who["tags"], who["is_internal_user"]) == ("ada", ["administrator"], False)
    assert shared.has_logged("logged in to the management API at the provider")
    text = shared.log_text()
    assert SECRET not in text and kept.value not in text and provider.forms[-1]["code_verifier"] not in text
    assert "eyJ" not in text, "no token is logged"
    # It ends as others do.
    answer = api.delete("login", headers={"Cookie": f"leveret_session_{api.port}={kept.value}", "X-Requested-With": "x"})
    assert answer.status == 204 and browser.whoami().status == 401


def test_nobody_else_comes_back_in_ones_place(api, provider):
    one, other = Browser(api), Browser(api)
    back, others = provider.approve(one.begin()), provider.approve(other.begin())
    asked = len(provider.forms)
    for browser, url in ((one, others), (Browser(api), back), (one, f"{api.url}{BACK}"), (one, f"{api.url}{BACK}?code=x&state=x")):
        assert browser.come_back(url) == "/#/?login=stale"
    assert len(provider.forms) == asked, "the provider is not asked"
    assert one.come_back(back) == "/", "nothing of that has ended what was begun"


def test_a_code_counts_once(api, provider):
    browser = Browser(api)
    url = browser.begin()
    cookies = dict(browser.cookies)
    back = provider.approve(url)
    assert browser.come_back(back) == "/"
    browser.cookies = cookies
    asked = len(provider.forms)
    assert browser.come_back(back) == "/#/?login=stale"
    assert len(provider.forms) == asked and browser.whoami().status == 401


def test_what_the_provider_refuses(shared, api, provider):
    browser = Browser(api)
    assert browser.come_back(provider.deny(browser.begin())) == "/#/?login=denied"
    assert browser.come_back(provider.deny(browser.begin(), "<i>\n")) == "/#/?login=provider"
    eventually(lambda: shared.has_logged(r"the provider says <i>.*n"), shared.log_text)
    url = browser.begin()
    assert browser.come_back(provider.back(provider.asked(url), nothing="")) == "/#/?login=provider"
    # A code that is not its own.
    url = browser.begin()
    assert browser.come_back(provider.back(provider.asked(url), code="guessed")) == "/#/?login=provider"
    assert browser.whoami().status == 401 and not browser.cookies


@pytest.mark.parametrize(
    ("claims", "word"),
    [
        ({"scope": "rabbitmq.read:*/*"}, "tag"),
        ({"scope": "openid"}, "tag"),
        ({"aud": "another"}, "token"),
        ({"iss": "http://another"}, "token"),
        ({"lives": -10}, "token"),
        ({"exp": None}, "token"),
        ({"sub": None}, "token"),
    ],
)
def test_tokens_that_are_not_good_enough(api, provider, claims, word):
    browser = Browser(api)
    issuer = claims.pop("iss", provider.issuer)
    provider.claims, own = {"scope": "rabbitmq.tag:administrator"} | claims, provider.issuer
    url = provider.approve(browser.begin())
    provider.issuer = issuer
    try:
        assert browser.come_back(url) == f"/#/?login={word}"
    finally:
        provider.issuer = own
    assert browser.whoami().status == 401 and not browser.cookies


@pytest.mark.parametrize("behaviour", ["fail", "garbage", "no token", "another kind", "hang"])
def test_a_provider_that_gives_no_token(shared, api, provider, behaviour):
    browser = Browser(api)
    url = provider.approve(browser.begin())
    provider.at_token = behaviour
    begin = time.monotonic()
    try:
        assert browser.come_back(url) == "/#/?login=provider"
    finally:
        provider.go_on()
    assert time.monotonic() - begin < 5
    eventually(lambda: shared.has_logged(f"login at the provider failed: {provider.issuer}/token"), shared.log_text)
    assert browser.whoami().status == 401


def test_a_provider_that_hangs_holds_nobody_else_up(api, provider):
    browsers = [Browser(api.by(None)) for _ in range(6)]
    urls = [provider.approve(browser.begin()) for browser in browsers]
    provider.at_token = "hang"
    words = []
    pairs = zip(browsers, urls, strict=True)
    threads = [threading.Thread(target=lambda b=browser, u=url: words.append(b.come_back(u))) for browser, url in pairs]
    asked = len(provider.forms)
    try:
        for thread in threads:
            thread.start()
        eventually(lambda: len(provider.forms) == asked + 4, "as many as may ask do so")
        assert api.get("health", "checks", "is-in-service").status == 200
        assert api.by("guest", "guest").get("overview").status == 200
        assert not words
        for thread in threads:
            thread.join(10)
    finally:
        provider.go_on()
    assert words == ["/#/?login=provider"] * 6


def test_another_sites_page_logs_nobody_in(api):
    browser = Browser(api)
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "http://evil.example"}):
        answer = browser.get(BEGIN, **headers)
        assert answer.status == 401 and "location" not in answer.headers and not browser.cookies
    for site in ("same-origin", "none"):
        assert browser.get(BEGIN, **{"Sec-Fetch-Site": site}).status == 303
    for host in ("mq/evil", "mq@evil", ""):
        assert browser.get(BEGIN, Host=host).status == 400
    assert api.send("POST", BEGIN).status == 405


def test_those_who_never_come_back_are_forgotten(api, provider):
    first = Browser(api)
    url = provider.approve(first.begin())
    for _ in range(100):
        assert Browser(api).begin()
    assert first.come_back(url) == "/#/?login=stale", "the oldest has made room"
    assert Browser(api).log_in(provider) == "/"


def test_a_session_ends_with_its_token(api, provider):
    provider.claims = {"scope": "rabbitmq.tag:administrator", "lives": 3}
    browser = Browser(api)
    assert browser.log_in(provider) == "/"
    assert browser.whoami().status == 200
    assert int(browser.morsels[f"leveret_session_{api.port}"]["max-age"]) <= 3
    eventually(lambda: browser.whoami().status == 401, "the token is over")


def test_a_form_with_a_token_ends_with_it_too(api, provider):
    made = token("rabbitmq.tag:management", lives=30, iss=provider.issuer)
    # Whatever the name: it is not the kept user's, who has another password than at the start.
    assert api.by("guest", "guest").put("users", "guest", "password", body={"password": "guest"}).status == 204
    form = urllib.parse.urlencode({"username": "guest", "password": made}).encode()
    answer = api.send("POST", "/api/login", form, {"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status == 200 and 20 < answer.json["expires_in"] <= 30
    who = api.get("whoami", headers={"Authorization": f"Bearer {answer.json['token']}"}).json
    assert (who["name"], who["is_internal_user"]) == ("ada", False)


@pytest.mark.parametrize(
    ("ways", "secret", "keys"),
    [
        (["client_secret_post", "private_key_jwt"], SECRET, {"client_id", "client_secret"}),
        (["client_secret_post", "client_secret_basic"], SECRET, set()),
        (None, "", {"client_id"}),
    ],
    ids=["in the form", "in the head", "public"],
)
def test_ways_to_prove_oneself(leveret, ways, secret, keys):
    with LoginProvider(secret, ways) as provider, api_of(leveret(settings(provider))) as api:
        browser = Browser(api.by(None))
        assert browser.log_in(provider) == "/"
        assert provider.forms[-1].keys() - {"grant_type", "code", "redirect_uri", "code_verifier"} == keys
        assert browser.whoami().status == 200


def test_behind_a_proxy_that_speaks_tls(leveret):
    with LoginProvider() as provider:
        changes = {"origin": "https://mq.example", "http.path_prefix": "/mq/one"}
        api = api_of(leveret(settings(provider, **changes))).by(None)
        answer = api.send("GET", f"/mq/one{BEGIN}", headers={"Host": "mq.example"})
        url, cookie = answer.headers["location"], answer.headers["set-cookie"]
        assert provider.asked(url)["redirect_uri"] == f"https://mq.example/mq/one{BACK}"
        assert cookie.startswith("leveret_login=") and cookie.endswith("; Secure") and f"Path=/mq/one{BACK};" in cookie
        parts = urllib.parse.urlsplit(provider.approve(url))
        headers = {"Host": "mq.example", "Cookie": cookie.partition(";")[0]}
        answer = api.send("GET", f"{parts.path}?{parts.query}", headers=headers)
        assert answer.headers["location"] == "/mq/one/"
        [session, gone] = answer.headers.get_all("set-cookie")
        assert session.startswith("leveret_session=lvrt.") and session.endswith("; Secure") and "Path=/mq/one/;" in session
        assert gone.startswith("leveret_login=;") and "Max-Age=0" in gone
        refused = api.send("GET", f"{parts.path}?{parts.query}", headers=headers)
        assert refused.headers["location"] == "/mq/one/#/?login=stale"
        # The session of a password too. Its tool tells no origin.
        form = urllib.parse.urlencode({"username": "guest", "password": "guest"}).encode()
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = api.send("POST", "/mq/one/api/login", form, {**kind, "Host": "mq.example"})
        assert answer.status == 200 and answer.headers["set-cookie"].endswith("; Secure")


def test_a_provider_that_is_away_comes(leveret):
    with LoginProvider() as provider:
        provider.behave("fail")
        broker = leveret(settings(provider))
        with api_of(broker) as api:
            browser = Browser(api.by(None))
            for _ in range(2):
                answer = browser.get(BEGIN)
                assert (answer.status, answer.headers["location"]) == (303, "/#/?login=provider")
            eventually(lambda: broker.has_logged("login at the provider failed.*500"), broker.log_text)
            provider.behave("answer")
            eventually(lambda: browser.get(BEGIN).headers["location"].startswith(provider.issuer), "it is found")
            eventually(lambda: browser.log_in(provider) == "/", "keys are found as well")
            assert provider.requests.count("/realms/nost/.well-known/openid-configuration") < 10


def test_a_provider_that_hangs_is_asked_for_its_addresses_once(leveret):
    with LoginProvider() as provider:
        provider.behave("hang")
        changes = {"auth.oauth2.timeout": "2s", "auth.oauth2.refresh_min": "1h", "auth.oauth2.refresh": "1h"}
        # Keys come from elsewhere.
        changes |= {"auth.oauth2.issuer": "", "auth.oauth2.jwks_url": "http://127.0.0.1:1/", "provider_url": provider.issuer}
        broker = leveret(settings(provider, **changes))
        words = []
        apis = [api_of(broker).by(None) for _ in range(6)]
        begin = time.monotonic()
        threads = [threading.Thread(target=lambda a=api: words.append(Browser(a).get(BEGIN).headers["location"])) for api in apis]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert words == ["/#/?login=provider"] * 6 and time.monotonic() - begin < 6
        assert len(provider.requests) == 1


def test_within_tls(leveret, tmp_path):
    authority = Authority(tmp_path)
    with LoginProvider(certificate=authority.server()) as provider:
        with api_of(leveret(settings(provider))) as api:
            browser = Browser(api.by(None))
            assert browser.get(BEGIN).headers["location"] == "/#/?login=provider", "it has to prove itself"
        trusting = settings(provider, **{"auth.oauth2.https_ca_file": authority.path})
        with api_of(leveret(trusting)) as api:
            assert Browser(api.by(None)).log_in(provider) == "/"


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint"])
@pytest.mark.parametrize("url", ["http://elsewhere.example/x", "javascript:alert(1)", None, 7])
def test_within_tls_a_provider_cannot_lead_out_of_it(leveret, tmp_path, name, url):
    authority = Authority(tmp_path)
    with LoginProvider(certificate=authority.server()) as provider:
        provider.changes = {name: url}
        broker = leveret(settings(provider, **{"auth.oauth2.https_ca_file": authority.path}))
        with api_of(broker) as api:
            assert Browser(api.by(None)).get(BEGIN).headers["location"] == "/#/?login=provider"
        eventually(lambda: broker.has_logged(f"its {name} is not https|it names no {name}"), broker.log_text)


def test_addresses_that_are_given_are_not_asked_for(leveret):
    with LoginProvider() as provider:
        given = {"authorization_url": f"{provider.issuer}/auth?realm=nost", "token_url": f"{provider.issuer}/token"}
        keys = {"auth.oauth2.issuer": "", "auth.oauth2.jwks_url": provider.url}
        with api_of(leveret(settings(provider, **given, **keys))) as api:
            assert Browser(api.by(None)).log_in(provider) == "/"
        assert not [path for path in provider.requests if "well-known" in path]


def test_without_it_there_is_nothing(leveret):
    with api_of(leveret({})) as api:
        assert api.read("auth") == {"oauth_enabled": False}
        for path in (BEGIN, f"{BACK}?code=x&state=x"):
            assert api.by(None).send("GET", path).status == 404
