"""Mail domains: distinguishes them from attributes, file names and units.

Source: IANA's root zone database, all country codes and the common generic top-level domains.
Domains under other top-level domains are not recognized. This module must not know e-mail
addresses.
"""

_COUNTRIES = frozenset(
    """
    ac ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bm bn bo br bs
    bt bw by bz ca cc cd cf cg ch ci ck cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz ec ee
    eg er es et eu fi fj fk fm fo fr ga gd ge gf gg gh gi gl gm gn gp gq gr gs gt gu gw gy hk hm
    hn hr ht hu id ie il im in io iq ir is it je jm jo jp ke kg kh ki km kn kp kr kw ky kz la lb
    lc li lk lr ls lt lu lv ly ma mc md me mg mh mk ml mm mn mo mp mq mr ms mt mu mv mw mx my mz
    na nc ne nf ng ni nl no np nr nu nz om pa pe pf pg ph pk pl pm pn pr ps pt pw qa re ro rs ru
    rw sa sb sc sd se sg sh si sk sl sm sn so sr ss st su sv sx sy sz tc td tf tg th tj tk tl tm
    tn to tr tt tv tw tz ua ug uk us uy uz va vc ve vg vi vn vu wf ws ye yt za zm zw
    """.split()  # noqa: SIM905
)
_GENERIC = frozenset(
    """
    com org net edu gov mil int arpa info biz name pro aero coop museum jobs mobi travel tel cat
    asia post academy africa agency app audio bank berlin bio blog build business bzh cafe camp
    capital care center chat church city click clinic cloud club coach codes college community
    company computer consulting cool design dev digital direct doctor download earth education
    email energy engineer engineering eus events expert family farm finance fit foundation frl
    fun fund fyi gal games global gmbh graphics group guide guru hamburg haus health help host
    hosting house institute international jetzt koeln law legal life link live lol london ltd
    management market marketing media moe moscow network news ninja nrw nyc one online page
    paris partners photo photography photos pics plus press productions pub quebec radio realty
    reisen research rest rocks ruhr saarland sale school science scot security services shop
    show site social software solar solutions space sport store studio support surf swiss
    systems team tech technology tips today tokyo tools top town training university uno vet
    video vip wales watch web wien wiki win work works world wtf xyz yoga zone
    """.split()  # noqa: SIM905
)
_CODE = frozenset({"self", "cls", "np", "numpy", "torch", "tf", "jnp", "jax", "scipy"})
"""First labels that are Python names in a matrix product, as in ``x@self.io``."""


def is_mail_domain(domain: str) -> bool:
    """Whether a dotted name may be a mail domain; ``k.mT`` is not, because its case is mixed."""
    labels = domain.split(".")
    last = labels[-1].lower()
    is_known = last in _COUNTRIES or last in _GENERIC
    is_one_case = labels[-1].islower() or labels[-1].isupper()
    return is_known and is_one_case and labels[0].lower() not in _CODE
