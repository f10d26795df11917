"""Secrets leave recorded texts, everything else stays, and no text takes long."""

from __future__ import annotations

import random
import string
import time

import pytest

from mvc.redaction import MASK, RULES, is_secret_name, redact, redact_value


def words(text: str) -> list[str]:
    return text.split()


SECRET_NAMES = words(
    """
    password db.password user_passwd PGPASSWORD_FILE_passphrase secret client_secret
    AWS_SECRET_ACCESS_KEY secretKey credentials gcp_credentials api_key apikey apiKey API-KEY
    OPENAI_API_KEY x-api-key access_key AWSAccessKeyId private_key account_key AccountKey
    SharedAccessKey encryption_key ssh_key wandb_key token hf_token HF_TOKEN hub_token GITHUB_TOKEN
    access_token accessToken auth_token refresh_token use_auth_token acme_token auth_tokens db_pass
    authorization cookie session_key
    """
)

PLAIN_NAMES = words(
    """
    num_tokens max_tokens token_count tokenizer tokenizer_name pad_token pad_token_id eos_token_id
    bos_token bos_token_id unk_token mask_token image_token decoder_start_token_id max_new_tokens
    tokens tokens_per_second n_tokens special_tokens tokens_seen key keys sort_key
    num_key_value_heads k_proj key_dim text_key label_key forward_pass passes learning_rate lr
    batch_size author authority secretary_problem_n monkey pass_through bypass cls_token tokenize
    end_token
    """
)


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_names_of_secrets(name):
    assert is_secret_name(name)
    assert redact_value(name, "plain") == MASK


@pytest.mark.parametrize("name", PLAIN_NAMES)
def test_names_of_other_things(name):
    assert not is_secret_name(name)
    assert redact_value(name, "plain") == "plain"


def random_letters(count: int, letters: str = string.ascii_letters + string.digits) -> str:
    return "".join(random.Random(count).choices(letters, k=count))


# Tokens are put together here, so that no scanner of repositories takes this file for a leak.
TOKENS = {
    "Hugging Face": ["hf" + "_" + random_letters(34)],
    "GitHub": [
        "ghp" + "_" + random_letters(36),
        "gho_" + random_letters(36),
        "github_pat_" + random_letters(60),
    ],
    "GitLab": ["glpat" + "-" + random_letters(20), "glrt-" + random_letters(20)],
    "OpenAI, Anthropic and alike": [
        "sk" + "-" + random_letters(48),
        "sk-proj-" + random_letters(60),
        "sk-ant-api03-" + random_letters(80),
    ],
    "Stripe": ["sk_live" + "_" + random_letters(24)],
    "Amazon": ["AKIA" + random_letters(16, string.ascii_uppercase), "ASIA" + random_letters(16, "ABC234")],
    "Google": ["AIza" + random_letters(35), "ya29." + random_letters(60)],
    "Slack": ["xoxb" + "-1234567890-" + random_letters(24), "xoxp-" + random_letters(20)],
    "npm": ["npm" + "_" + random_letters(36)],
    "Python package index": ["pypi" + "-" + random_letters(150)],
    "Weights & Biases": ["wandb_v1" + "_" + random_letters(60)],
    "other services": [
        "nvapi" + "-" + random_letters(64),
        "gsk_" + random_letters(52),
        "hvs." + random_letters(30),
    ],
    "JSON web token": [f"eyJ{random_letters(30)}.eyJ{random_letters(60)}.{random_letters(43)}"],
}
SHAPES = [token for tokens in TOKENS.values() for token in tokens]


@pytest.mark.parametrize("token", SHAPES)
@pytest.mark.parametrize("around", ["{}", "run with {} now", "a/{}/b", "'{}'", "x={}&y", "[{}]", "{}\n"])
def test_tokens_of_known_shape_are_masked_wherever_they_stand(token, around):
    text = redact(around.format(token))
    assert token[8:] not in text
    assert MASK in text


def test_every_rule_has_its_cases():
    said = {
        *TOKENS,
        "private key",
        "userinfo of an address",
        "parameter of an address",
        "webhook",
        "authorization",
        "bearer token",
        "named value",
        "option",
    }
    assert {rule.name for rule in RULES} == said


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        # userinfo of an address
        ("https://user:token@host/x.git", "https://***@host/x.git"),
        ("https://token@github.com/o/r", "https://***@github.com/o/r"),
        ("postgres://ada:p@ss@db:5432/x", "postgres://***@db:5432/x"),
        ("see ftp://a:b@h and http://c:d@i.", "see ftp://***@h and http://***@i."),
        # parameter of an address
        ("s3://b/k?X-Amz-Signature=ab12&X-Amz-Date=1", "s3://b/k?X-Amz-Signature=***&X-Amz-Date=1"),
        ("https://h/?token=abc", "https://h/?token=***"),
        ("https://h/?access_token=abc#x", "https://h/?access_token=***#x"),
        ("https://h/?api_key=abc&n=1", "https://h/?api_key=***&n=1"),
        ("https://h/?AWSAccessKeyId=abc", "https://h/?AWSAccessKeyId=***"),
        ("https://h/?%74oken=abc", "https://h/?%74oken=***"),
        (
            "https://x.blob.core/c?sv=2&sr=b&sig=a%2Fb%3D&se=2030&sp=r",
            "https://x.blob.core/c?sv=***&sr=***&sig=***&se=***&sp=***",
        ),
        (
            "https://h/?next=https%3A%2F%2Fi%3Fsig%3Dabc%26n%3D1",
            "https://h/?next=https%3A%2F%2Fi%3Fsig%3D***%26n%3D1",
        ),
        # webhook
        ("https://hooks.slack.com/services/T0/B0/abc", "https://hooks.slack.com/services/***"),
        ("https://discord.com/api/webhooks/12/abc x", "https://discord.com/api/webhooks/*** x"),
        # authorization, bearer token
        ("Authorization: Bearer abcdefgh", "Authorization: ***"),
        ("-H 'Authorization: Basic YTpi'", "-H 'Authorization: ***'"),
        ('{"authorization": "token abc"}', '{"authorization": "***"}'),
        ("Bearer abcdefghijklmnopqrstuvwxyz", "Bearer ***"),
        # named value
        ("password=hunter2", "password=***"),
        ("db_password : hunter2, n=1", "db_password : ***, n=1"),
        ('{"api_key": "abc", "n": 1}', '{"api_key": "***", "n": 1}'),
        ("export HF_TOKEN='a b'", "export HF_TOKEN='***'"),
        ("AccountName=a;AccountKey=k==;x=1", "AccountName=a;AccountKey=***;x=1"),
        ("--api-key=abc", "--api-key=***"),
        # option
        ("train --api-key abc --lr 1", "train --api-key *** --lr 1"),
        ("--password 'a b' x", "--password '***' x"),
        # private key
        ("a -----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY----- b", "a *** b"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\ncut off", "***"),
    ],
)
def test_secrets_by_what_stands_around_them(text, wanted):
    assert redact(text) == wanted
    assert redact(wanted) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "git@github.com:org/repo.git",
        "ssh://git@github.com/org/repo.git",
        "https://huggingface.co/datasets/org/name/resolve/main/a.parquet?download=true&page=2",
        "hf://datasets/org/name@v1",
        "s3://bucket/key",
        "max_tokens=512 num_tokens: 3, tokenizer: bpe",
        "--tokenizer bpe --max-tokens 5 --use-key",
        "token classification with 3 tokens",
        "eyJ is how JSON starts in base64",
        "sk-learn-random-forest-classifier-with-a-long-name",
        "task-0123456789012345678901234567890123456789",
        "hf_small, ghp_, npm_install, AKIA, pypi-package",
        "mail ada@example.org: all is well",
        "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----",
        "blake3 " + "ab" * 32,
        "Ünïcødé \udc80 text",
        "",
    ],
)
def test_other_texts_stay(text):
    assert redact(text) == text


def test_values_by_their_type():
    assert redact_value("password", 1234) == MASK
    assert redact_value("use_password", True) is True
    assert redact_value("password", None) is None
    assert redact_value("mask_token", 103) == 103
    assert redact_value("token", 5) == 5
    assert redact_value("lr", 3e-4) == 3e-4
    assert redact_value("blob", b"x") == b"x"
    assert redact_value("args", {"token": "a", "n": ["https://u:p@h", 1]}) == {
        "token": MASK,
        "n": ["https://***@h", 1],
    }
    assert redact_value("token", "") == ""


SIZE = 1 << 20
HOSTILE = [
    *(
        "a",
        "-",
        " ",
        "?",
        "=",
        "@",
        '"',
        ":",
        "://",
        "://a@",
        "?a",
        "?a=",
        "%26a",
        "%3F%3D",
        "a-",
        "a.",
        "a=",
        "a: ",
    ),
    *(
        'a="',
        "a='",
        "--a ",
        "-a\t",
        "eyJ-",
        "eyJaaaaaaaa.",
        "bearer ",
        "authorization ",
        "authorization:",
        "glpat-",
    ),
    *(
        "sk-ant-",
        "xoxb-",
        "ya29.",
        "SG.aaaaaaaaaaaaaaaa.",
        "hooks.slack.com/services/",
        "password=",
        "aA",
        "A_",
    ),
    *("-----BEGIN ", "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY----- -----BEGIN PRIVATE KEY-----"),
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_a_hostile_megabyte_takes_linear_time(piece):
    def seconds(count: int) -> float:
        text = piece * (count // len(piece)) + "\n=x"
        began = time.process_time()
        redact(text)
        return time.process_time() - began

    small = min(seconds(SIZE // 16) for _ in range(2))
    # sixteen times the text; quadratic would be 256 times the time
    assert seconds(SIZE) < 64 * small + 0.5


def test_a_long_name_before_a_secret_hides_nothing():
    assert redact("x" * 100_000 + "_password=abc").endswith("_password=***")


def test_what_stands_in_a_map_of_secrets_is_one() -> None:
    given = {"passwords": {"db": "hunter2", "more": ["a", {"b": 7}]}, "sizes": {"db": "7"}}
    found = redact_value("run", given)
    assert found == {
        "passwords": {"db": MASK, "more": [MASK, {"b": MASK}]},
        "sizes": {"db": "7"},
    }


def test_an_address_with_escaped_slashes_loses_its_user_too() -> None:
    assert redact(r'{"url": "https:\/\/ada:hunter2@example.org\/x"}') == (
        rf'{{"url": "https:\/\/{MASK}@example.org\/x"}}'
    )
