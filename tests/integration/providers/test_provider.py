"""What every cloud does for an app: one contract, held by each of them."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial

import pytest

from nvoi.config.schema import Application
from nvoi.errors import ConfigError, ExtraError, NvoiError
from nvoi.providers import CLOUDS, get_provider
from nvoi.providers.cloud_init import generate_host_key
from nvoi.providers.rented import build_labels
from tests.fakes.clouds.server import FOREVER, Answer, Fault, Refused
from tests.integration.providers.aws_account import build_app
from tests.integration.providers.aws_site import AWSSite
from tests.integration.providers.conftest import SITES
from tests.integration.providers.hetzner_site import HetznerSite, build_config
from tests.integration.providers.scaleway_site import ScalewaySite
from tests.integration.providers.site import Site, deploy_servers, start

ONE = "{main: {master: true}}"
DISK = "{main: {master: true, volumes: {data: {size: 20}}}}"
MORE = "{main: {master: true, volumes: {data: {}}}, work: {count: 2, volumes: {cache: {}}}}"
#: How an error begins where nobody answers, and where its remedy is.
SILENCE = {
    "hetzner": ("Hetzner: the connection was refused", "status.hetzner.com"),
    "scaleway": ("Scaleway's API (http://127.0.0.1:", "https://status.scaleway.com"),
    "aws": ("http://127.0.0.1:", "https://health.aws.amazon.com"),
}
OWNERS = (
    ("server", "shop-main-1", "managed-by=terraform"),
    ("volume", "shop-main-data", "environment=staging"),
    ("network", "nvoi-shop-network", "k8s.io/managed-by=helm"),
)


def test_a_deploy_with_nothing_to_change_asks_little_and_changes_nothing(site: Site) -> None:
    application = site.read(DISK)
    deploy_servers(site.open(application))
    with site.cloud.record() as calls:
        deploy_servers(site.open(application))
    assert [str(call) for call in calls if not call.is_reading] == []
    assert len(calls) == site.calls


def test_host_keys_are_noted_and_met_again_by_every_later_run(site: Site) -> None:
    application = site.read(DISK)
    provider = site.open(application)
    [server] = provider.ensure_servers()
    [first], following = server.host.host_keys, generate_host_key().public
    assert server.is_new
    for keys in ((first, following), (following,)):
        server = provider.keep_host_keys(server, keys)
        assert (server.host.host_keys, server.is_new) == (keys, len(keys) > 1)
        for run in (provider, site.open(application)):
            assert run.list_servers() == (server,)
    [labels] = site.list_labels("server")
    assert {"host-key", "group"} <= labels.keys()
    assert "host-key-first" not in labels


def test_a_volume_grows_with_the_config_and_never_shrinks(site: Site) -> None:
    site.begin(site.read(DISK))
    larger = site.read(DISK.replace("20", "30"))
    provider = site.open(larger)
    [line] = [one for one in provider.describe() if "shop-main-data" in one]
    assert "from 20" in line
    assert line.endswith("to 30 GB")
    [main] = provider.ensure_servers()
    assert [disk.size for disk in main.disks] == [30]
    before = site.show()
    with pytest.raises(ConfigError) as raised:
        site.begin(site.read(DISK))
    [fault] = raised.value.faults
    assert fault.path == "application.servers.main.volumes.data.size"
    assert fault.message == "the volume has 30 GB, and none can shrink; give it these"
    assert site.show() == before


def test_what_the_config_no_longer_names_is_given_back_and_volumes_where_that_is_asked_for(
    site: Site,
) -> None:
    site.begin(site.read(MORE))
    smaller = site.read(ONE)
    provider = site.open(smaller)
    surplus = provider.list_surplus()
    assert [(one.name, one.group) for one in surplus] == [
        ("shop-work-1", "work"),
        ("shop-work-2", "work"),
    ]
    assert [disk.name for disk in surplus[0].disks] == ["shop-work-cache"]
    assert surplus[0].volumes == ("/opt/nvoi/volumes/shop-work-cache",)
    for with_volumes, verb in ((False, "keeps"), (True, "deletes")):
        text = "\n".join(provider.describe(with_volumes=with_volumes))
        assert "deletes server shop-work-2" in text
        assert f"{verb} volume shop-work-cache" in text
        assert f"{verb} volume shop-main-data" in text
    for one in reversed(surplus):
        provider.delete_surplus([one], with_volumes=False)
    assert provider.list_surplus() == ()
    assert site.list_all()["servers"] == ["shop-main-1"]
    assert {"shop-main-data", "shop-work-cache"} <= {*site.list_all()["volumes"]}
    # One of them leaves a server that stays.
    provider.delete_surplus([], with_volumes=True)
    assert not {"shop-main-data", "shop-work-cache"} & {*site.list_all().get("volumes", [])}
    [server] = provider.ensure_servers()
    assert server.disks == ()


def test_volumes_stay_until_their_deletion_is_asked_for(site: Site) -> None:
    application = site.read(DISK)
    provider = site.open(application)
    [before] = provider.ensure_servers()
    told = site.open(application).describe_deletion(with_volumes=False)
    assert any(line.startswith("keeps volume shop-main-data") for line in told)
    assert [*provider.delete_servers(with_volumes=False)] == ["shop-main-data"]
    assert site.list_all() == {"volumes": ["shop-main-data"]}
    [after] = provider.ensure_servers()
    assert after.disks == before.disks
    assert [*provider.delete_servers(with_volumes=True)] == []
    assert site.list_all() == {}


@pytest.mark.parametrize("kind", [AWSSite, ScalewaySite])
def test_volumes_of_one_name_that_the_config_does_not_name_hinder_nobody(kind: type[Site]) -> None:
    with start(kind) as site:
        for _ in range(2):
            site.add("volume", "shop-old-data", build_labels(site.read(ONE), "old"))
        provider = site.begin(site.read(ONE))
        for with_volumes, verb in ((False, "keeps"), (True, "deletes")):
            told = provider.describe(with_volumes=with_volumes)
            assert sum(line.startswith(f"{verb} volume shop-old-data") for line in told) == 2
        provider.delete_surplus([], with_volumes=True)
        assert "shop-old-data" not in site.list_all().get("volumes", [])


def test_servers_of_another_environment_are_none_of_this_one(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    application = site.read(DISK)
    site.begin(application)
    before, other = site.show(), replace(application, environment="staging")
    provider = site.open(other)
    # Nothing reaches them either, be it to remove what they run.
    assert provider.list_servers() == provider.list_surplus() == ()
    assert not provider.delete_servers(with_volumes=True)
    assert "environment=production, and stays" in caplog.text
    with pytest.raises(NvoiError, match="is not this app's"):
        provider.ensure_servers()
    assert site.show() == before


@pytest.mark.parametrize(("kind", "name", "owner"), OWNERS)
def test_a_name_that_another_has_is_an_error_that_names_it(
    site: Site, kind: str, name: str, owner: str
) -> None:
    site.add(kind, name, dict([owner.split("=")]))
    before, application = site.show(), site.read(DISK)
    for run in ("ensure_servers", "describe"):
        with pytest.raises(NvoiError, match=f"{name}.* is not this app's: it bears .* {owner}"):
            getattr(site.open(application), run)()
    assert not site.open(application).delete_servers(with_volumes=True)
    assert site.show() == before


def test_what_the_gem_made_is_taken_over_and_nothing_is_doubled(site: Site) -> None:
    """It bears the names of docs/config.md, and no labels of nvoi's."""
    application = site.read(DISK)
    site.begin(application)
    names = site.list_all()
    # Whoever has a volume may call a label of it as nvoi calls that of a disk of its servers.
    site.relabel({"team": "a", "server": "mine"})
    provider = site.open(application)
    told = "\n".join(provider.list_unlabelled())
    plan = provider.describe()
    for name in ("server shop-main-1", "volume shop-main-data", "nvoi-shop-network"):
        assert name in told
        assert any(line.startswith("takes over ") and name in line for line in plan)
    assert [one.is_labelled for one in provider.list_servers()] == [False]
    provider.ensure_servers()
    assert site.list_all() == names
    again = site.open(application)
    assert not again.list_unlabelled()
    [server] = again.list_servers()
    assert (server.is_labelled, server.is_new, server.host.host_keys) == (True, False, ())
    for kind in ("server", "network"):
        [labels] = site.list_labels(kind)
        assert labels.items() >= {"team": "a", "managed-by": "nvoi", "app": "shop"}.items()
    assert [*again.delete_servers(with_volumes=False)] == ["shop-main-data"]
    # All of it is the app's now, so that a delete takes all but a key that others may use.
    assert not again.delete_servers(with_volumes=True)
    assert site.list_all().keys() <= {"ssh_keys"}


@pytest.mark.parametrize("kind", SITES)
def test_of_a_thousand_other_resources_none_is_touched(kind: type[Site]) -> None:
    # A page of the account at AWS is as large as three of them have all: fewer have as many pages.
    with start(kind, 300 if kind is AWSSite else 1000) as site:
        application = site.read(ONE)
        [server] = site.begin(application).list_servers()
        assert server.name == "shop-main-1"
        site.delete(application)
        assert site.list_left() == []


@pytest.mark.parametrize(
    ("library", "application"), [("hcloud", build_config()), ("boto3", build_app())]
)
def test_a_library_that_lacks_is_told_with_the_way_to_it(
    monkeypatch: pytest.MonkeyPatch, library: str, application: Application
) -> None:
    cloud, _ = CLOUDS[type(application.compute_provider)]
    for name in [name for name in sys.modules if name.startswith(f"nvoi.providers.{cloud}")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    told = f"{library} is not installed, which `{cloud}` needs"
    with pytest.raises(ExtraError, match=told) as raised:
        get_provider(application)
    assert f".[{cloud}]" in raised.value.hint
    assert raised.value.exit_code == 2


def test_a_delete_leaves_what_nobody_says_whose_it_is_and_tells(site: Site) -> None:
    site.add("server", "shop-main-1", {})
    application = site.read(ONE)
    with pytest.raises(NvoiError, match=r"shop-main-1.* says whose they are") as raised:
        site.open(application).delete_servers(with_volumes=True)
    assert "`nvoi deploy --adopt`" in str(raised.value)
    assert site.list_all()["servers"] == ["shop-main-1"]


def test_a_volume_that_stays_is_told_also_where_nobody_says_whose_it_is(site: Site) -> None:
    site.add("volume", "shop-main-data", {})
    provider = site.open(site.read(DISK))
    assert provider.delete_servers(with_volumes=False) == ["shop-main-data"]
    with pytest.raises(NvoiError, match=r"shop-main-data.* says whose they are"):
        provider.delete_servers(with_volumes=True)


def test_an_api_that_is_down_is_told_and_a_plan_shows_the_rest(site: Site) -> None:
    application = site.read(DISK)
    down = Fault(Refused(503, "unavailable", "not now"))
    site.cloud.fail_on("GET", "/", down, times=FOREVER)
    [told, *_] = site.open(application, in_haste=True).describe()
    assert told.startswith("cannot ask what there is: ")
    site.cloud.close()
    provider = site.open(application, in_haste=True)
    beginning, remedy = SILENCE[site.name]
    with pytest.raises(NvoiError) as raised:
        provider.ensure_servers()
    assert raised.value.message.startswith(beginning)
    assert remedy in raised.value.hint
    [told, server, volume] = provider.describe()
    assert told.startswith(f"cannot ask what there is: {beginning}")
    assert server.startswith("needs server shop-main-1, a ")
    assert volume == "needs volume shop-main-data, 20 GB"
    [told] = provider.describe_deletion(with_volumes=True)
    assert told.startswith("cannot ask what there is: ")


def test_a_plan_fails_where_the_api_refuses_to_say_what_there_is(site: Site) -> None:
    application = site.read(DISK)
    refusal = Fault(Refused(418, "other", "not for you"))
    site.cloud.fail_on("GET", "/", refusal, times=FOREVER)
    for describe in ("describe", "describe_deletion"):
        provider = site.open(application, in_haste=True)
        with pytest.raises(NvoiError, match="not for you"):
            getattr(provider, describe)(with_volumes=False)


@pytest.mark.parametrize("document", [{}, {"servers": None}, {"servers": [{"id": "x"}]}])
@pytest.mark.parametrize("kind", [HetznerSite, ScalewaySite])
def test_an_answer_of_another_form_ends_a_run_in_words(
    kind: type[Site], document: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    with start(kind) as site:
        provider = site.open(site.read(ONE))
        monkeypatch.setattr(site.cloud, "_answer", lambda _: Answer(200, document))
        for run in (
            provider.ensure_servers,
            partial(provider.delete_servers, with_volumes=True),
            provider.describe,
            partial(provider.describe_deletion, with_volumes=True),
        ):
            with pytest.raises(NvoiError):
                run()
