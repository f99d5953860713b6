"""Points pywa, a public client of the WhatsApp Cloud API, at the simulator: sends every kind of
message and receives every kind of webhook. Ends with 0 and one line of JSON when all went as pywa
and the simulator's own view of the customer's phone say it should.

    python against_simulator.py --whatsapp http://127.0.0.1:1 --control http://127.0.0.1:2
"""

import argparse
import base64
import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import httpx
from pywa import WhatsApp, errors, types, utils

NUMBER, WABA, APP = "220011223344001", "104857600000001", "331100220033001"
TOKEN, SECRET, VERIFY = "pywa-token", "pywa-secret", "pywa verifies"
ANA = {"phone": "15550100199", "bsuid": "US.70131924466018321540", "name": "Ana Ferreira"}
BRUNO = {"bsuid": "BR.50217733991846002178", "name": "Bruno Lima", "username": "@bruno.lima"}
JPEG = b"\xff\xd8\xff\xe0 a picture"
WAIT_S = 30


class ToSimulator(httpx.HTTPTransport):
    """pywa knows one address only; calls to it go to the simulator instead."""

    def __init__(self, base):
        super().__init__()
        self._base = httpx.URL(base)

    def handle_request(self, request):
        if request.url.host == "graph.facebook.com":
            request.url = request.url.copy_with(
                scheme=self._base.scheme, host=self._base.host, port=self._base.port
            )
            request.headers["host"] = f"{self._base.host}:{self._base.port}"
        return super().handle_request(request)


class Control:
    """The simulator's control API."""

    def __init__(self, base):
        self._http = httpx.Client(base_url=base, trust_env=False, timeout=30)

    def post(self, path, body):
        answer = self._http.post(f"/control/whatsapp/{path}", json=body)
        assert answer.status_code == 200, f"{path}: {answer.text}"
        return answer.json()

    def act(self, verb, customer=ANA, around=None, **act):
        did = {"number": NUMBER, "customer": customer, "act": {"verb": verb, **act}, **(around or {})}
        return self.post("act", did)["wamids"][0]

    def event(self, happens, **event):
        return self.post("event", {"happens": happens, **event})["wamid"]

    def last(self, customer):
        view = self._http.get(
            "/control/whatsapp/phone", params={"number": NUMBER, "customer": customer}
        ).json()
        return view, [m for m in view["messages"] if not m["from_customer"]][-1]


def serve(wa):
    """An endpoint for webhooks. pywa checks the signature and the verify token."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            query = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
            self.answer(*wa.webhook_challenge_handler(query.get(utils.HUB_VT), query.get(utils.HUB_CH)))

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            refused = wa.webhook_update_validator(body, self.headers.get(utils.HUB_SIG))
            self.answer(*(refused or wa.webhook_update_handler(body)))

        def answer(self, body, status):
            data = str(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}/webhook"


class Inbox:
    """What pywa made of the webhooks."""

    def __init__(self, wa):
        self._got = queue.Queue()
        self._kept = []
        for name in [
            "message", "callback_button", "callback_selection", "flow_completion", "message_status",
            "group_message_statuses", "phone_number_change", "identity_change", "template_status_update",
            "template_category_update", "template_quality_update", "template_components_update",
            "user_marketing_preferences", "edited_message", "deleted_message", "outgoing_message",
            "outgoing_edited_message", "outgoing_deleted_message", "account_update",
        ]:
            getattr(wa, f"on_{name}")(self._keeper(name))
        getattr(wa, "on_raw_update")(self._raw)
        self.fields = set()

    def _keeper(self, name):
        def keep(_wa, update):
            self._got.put((name, update))

        return keep

    def _raw(self, _wa, update):
        for entry in update["entry"]:
            self.fields.update(change["field"] for change in entry["changes"])
        update.continue_handling()

    def find(self, name, fits):
        """The first update of this handler that fits; waits for it."""
        for kept in self._kept:
            if kept[0] == name and fits(kept[1]):
                return kept[1]
        while True:
            try:
                got = self._got.get(timeout=WAIT_S)
            except queue.Empty:
                raise AssertionError(f"{name} never came; kept: {[k[0] for k in self._kept]}") from None
            self._kept.append(got)
            if got[0] == name and fits(got[1]):
                return got[1]

    def message(self, wamid, name="message"):
        return self.find(name, lambda update: update.id == wamid)


def outbound(wa, control, inbox):
    """Every kind that a business can send. Gives the wamids that can be tapped."""
    to, sent = ANA["phone"], {}

    def check(name, message, kind, text=None):
        view, last = control.last(to)
        assert last["wamid"] == message.id, f"{name}: {last}"
        shown = last.get("content", {"kind": "text"})
        assert shown["kind"] == kind, f"{name}: {shown}"
        if text is not None:
            assert last["text"] == text, f"{name}: {last}"
        sent[name] = message.id
        return shown

    first = control.act("text", body="Hi")
    inbox.message(first)
    check("text", wa.send_message(to, "Hello", tracker="ours-1"), "text", "Hello")
    status = inbox.find("message_status", lambda s: s.id == sent["text"] and s.status.value == "read")
    assert status.tracker == "ours-1"
    shown = check("quote", wa.send_message(to, "This", reply_to_message_id=first), "text", "This")
    assert shown["quoted"] == first
    assert wa.mark_message_as_read(first)
    assert wa.indicate_typing(first)
    assert control.last(to)[0]["typing"]

    files = {
        "image": (wa.send_image, {"image": JPEG, "caption": "See"}, "image/jpeg"),
        "video": (wa.send_video, {"video": b"\0\0\0\x18ftypmp42", "caption": "It"}, "video/mp4"),
        "document": (
            wa.send_document,
            {"document": b"%PDF-1.7", "filename": "a.pdf", "caption": "Read"},
            "application/pdf",
        ),
        "audio": (wa.send_audio, {"audio": b"ID3\x04"}, "audio/mpeg"),
        "voice": (wa.send_voice, {"voice": b"OggS"}, "audio/ogg"),
        "sticker": (wa.send_sticker, {"sticker": b"RIFF\x40\0\0\0WEBP"}, "image/webp"),
    }
    for name, (send, arguments, mime_type) in files.items():
        kind = "audio" if name == "voice" else name
        message = send(to, **arguments, mime_type=mime_type)
        shown = check(name, message, kind, arguments.get("caption"))
        assert shown["file"]["mime_type"] == mime_type
        assert shown["file"]["voice"] == (name == "voice")
    uploaded = wa.upload_media(JPEG, mime_type="image/jpeg", filename="a.jpg")
    check("by id", wa.send_image(to, uploaded.id), "image", "[image]")
    info = wa.get_media_url(uploaded.id)
    assert wa.get_media_bytes(info.url) == JPEG
    assert wa.delete_media(uploaded.id, phone_id=NUMBER)
    check("by link", wa.send_image(to, "https://example.com/a.jpg"), "image")

    check("location", wa.send_location(to, 37.7, -122.4, name="Here", address="1 Plaza"), "location", "Here")
    card = types.Contact(
        name=types.Contact.Name(formatted_name="Dora Klein", first_name="Dora"),
        phones=[types.Contact.Phone(phone="+15550100155", type="CELL")],
    )
    check("contacts", wa.send_contact(to, card), "contacts", "Dora Klein")
    check("reaction", wa.send_reaction(to, "👍", first), "reaction", "👍")
    check("reaction removed", wa.remove_reaction(to, first), "reaction", "")
    ways = [types.Button("Yes", "yes"), types.Button("No", "no")]
    shown = check("buttons", wa.send_message(to, "Well?", header="H", footer="F", buttons=ways), "interactive/button")
    assert [b["title"] for b in shown["buttons"]] == ["Yes", "No"]
    assert (shown["header"], shown["footer"]) == ("H", "F")
    shown = check("image buttons", wa.send_image(to, JPEG, "Well?", buttons=ways, mime_type="image/jpeg"), "interactive/button")
    assert shown["file"]["mime_type"] == "image/jpeg"
    rows = [types.SectionRow("Billing", "billing", "Invoices"), types.SectionRow("Other", "other")]
    menu = types.SectionList("Topics", [types.Section("All", rows)])
    shown = check("list", wa.send_message(to, "Which?", buttons=menu), "interactive/list")
    assert shown["rows"][0] == {"id": "billing", "title": "Billing", "description": "Invoices"}
    check("link", wa.send_message(to, "Go", buttons=types.URLButton("Open", "https://example.com")), "interactive/cta_url")
    check("flow", wa.send_message(to, "Fill", buttons=types.FlowButton("Start", flow_id="77", flow_token="t")), "interactive/flow")
    check("ask location", wa.request_location(to, "Where?"), "interactive/location_request_message")
    check("ask contact", wa.request_contact_info(to, "Who?"), "interactive/request_contact_info")

    control.act("text", customer=BRUNO, body="Oi")
    hidden = wa.send_message(BRUNO["bsuid"], "Olá")
    assert control.last(BRUNO["bsuid"])[1]["wamid"] == hidden.id
    inbox.find("message_status", lambda s: s.id == hidden.id and s.status.value == "delivered")
    control.act("text", body="Hi all", around={"group": "Y2FwaV9ncm91cDptYWRlLXVwLTAwMDE"})
    return sent


def templates(wa, control, inbox, sent):
    body = {
        "type": "BODY",
        "text": "Hi {{1}}, order {{2}} left today.",
        "example": {"body_text": [["Ana", "4711"]]},
    }
    buttons = {"type": "BUTTONS", "buttons": [{"type": "QUICK_REPLY", "text": "Thanks"}]}
    named = {
        "type": "BODY",
        "text": "Hi {{first_name}}.",
        "example": {"body_text_named_params": [{"param_name": "first_name", "example": "Ana"}]},
    }
    common = {"waba_id": WABA, "language": "en_US"}
    control.post("templates", [
        {**common, "name": "order_update", "components": [body, buttons]},
        {**common, "name": "greeting", "components": [named], "parameter_format": "NAMED"},
    ])
    listed = {template.name: template for template in wa.get_templates()}
    assert set(listed) == {"order_update", "greeting"}
    assert wa.get_template(listed["greeting"].id).name == "greeting"
    words = [{"type": "text", "text": "Ana"}, {"type": "text", "text": "4711"}]
    params = [
        {"type": "body", "parameters": words},
        {"type": "button", "sub_type": "quick_reply", "index": 0,
         "parameters": [{"type": "payload", "payload": "THANKS"}]},
    ]
    english = types.templates.TemplateLanguage.ENGLISH_US
    message = wa.send_template(ANA["phone"], "order_update", english, params)
    assert control.last(ANA["phone"])[1]["text"] == "Hi Ana, order 4711 left today."
    sent["template"] = message.id
    word = [{"type": "text", "parameter_name": "first_name", "text": "Ana"}]
    wa.send_template(ANA["phone"], "greeting", english, [{"type": "body", "parameters": word}])
    assert control.last(ANA["phone"])[1]["text"] == "Hi Ana."
    try:
        wa.send_template(ANA["phone"], "order_update", english, [])
        raise AssertionError("parameters were missing")
    except errors.WhatsAppError as error:
        assert error.code == 132000, error
    key = {"waba_id": WABA, "name": "order_update", "language": "en_US"}
    control.event("template_status", **key, status="PAUSED", other_info={"title": "FIRST_PAUSE", "description": "d"})
    inbox.find("template_status_update", lambda u: u.template_name == "order_update")
    control.event("template_quality", **key, quality="YELLOW")
    inbox.find("template_quality_update", lambda u: u.new_quality_score.value == "YELLOW")
    control.event("template_category", **key, category="MARKETING")
    inbox.find("template_category_update", lambda u: u.new_category.value == "MARKETING")
    return 2


def inbound(wa, control, inbox, sent):
    """Every kind that a customer, the Business app or the account can make."""
    seen = []

    def message(verb, around=None, handler="message", **act):
        got = inbox.message(control.act(verb, around=around, **act), handler)
        seen.append(verb)
        return got

    assert message("text", body="Olá 👋").text == "Olá 👋"
    image = message("image", file={"bytes": base64.b64encode(JPEG).decode()}, caption="Broken")
    assert image.caption == "Broken" and image.image.get_bytes() == JPEG
    assert message("video", caption="It").video
    assert message("audio").audio.voice is False
    assert message("voice").voice.mime_type.startswith("audio/ogg")
    document = message("document", file={"filename": "a.pdf"})
    assert document.document.filename == "a.pdf"
    assert message("sticker", animated=True).sticker.animated
    assert message("location", latitude=37.7, longitude=-122.4, name="Here").location.name == "Here"
    card = {"name": {"formatted_name": "Dora", "first_name": "Dora"}, "phones": [{"phone": "+1555", "type": "CELL"}]}
    assert message("contacts", contacts=[card]).contacts[0].name.formatted_name == "Dora"
    assert message("share_phone").contacts
    item = {"product_retailer_id": "SKU-1", "quantity": 2, "item_price": 19.99, "currency": "USD"}
    assert message("order", catalog_id="1", text="Wrap it", product_items=[item]).order.products
    assert message("react", wamid=sent["text"], emoji="👍").reaction.emoji == "👍"
    assert not message("react", wamid=sent["text"]).reaction.emoji
    assert message("request_welcome").type.value == "request_welcome"
    assert message("unsupported", kind="poll_creation").error.code == 131051
    assert message("too_large").error.code == 131052
    quoted = message("text", around={"quote": sent["text"]}, body="This one")
    assert quoted.reply_to_message.id == sent["text"]
    assert message("text", around={"forwarded": True}, body="FW").forwarded
    assert message("text", around={"frequently_forwarded": True}, body="FW").forwarded_many_times
    referral = {"source_url": "https://fb.me/x", "source_id": "1", "source_type": "ad", "body": "Sale",
                "headline": "Chat", "media_type": "image", "image_url": "https://x.example/i", "ctwa_clid": "c"}
    assert message("text", around={"referral": referral}, body="Ad").referral.source_id == "1"
    group = message("text", around={"group": "Y2FwaV9ncm91cDptYWRlLXVwLTAwMDE"}, body="All")
    assert group.chat.type.value.lower() == "group"

    button = message("tap_button", handler="callback_button", wamid=sent["buttons"], id="yes")
    assert (button.data, button.title) == ("yes", "Yes")
    reply = message("tap_quick_reply", handler="callback_button", wamid=sent["template"], index=0)
    assert reply.data == "THANKS"
    row = message("tap_row", handler="callback_selection", wamid=sent["list"], id="billing")
    assert (row.data, row.title) == ("billing", "Billing")
    flow = message("flow_reply", handler="flow_completion", wamid=sent["flow"], response={"flow_token": "t", "a": 1})
    assert flow.token == "t" and flow.response["a"] == 1

    first = control.act("text", body="4711")
    control.act("edit", wamid=first, text="4712")
    edited = inbox.find("edited_message", lambda u: True)
    assert edited.message.text == "4712"
    control.act("revoke", wamid=first)
    inbox.find("deleted_message", lambda u: True)
    echo = {"number": NUMBER, "customer": ANA["phone"]}
    said = control.event("app_echo", **echo, message={"type": "text", "text": {"body": "From the app"}})
    assert inbox.message(said, "outgoing_message").text == "From the app"
    change = {"original_message_id": said, "message": {"type": "text", "text": {"body": "Better"}}}
    control.event("app_echo", **echo, message={"type": "edit", "edit": change})
    inbox.find("outgoing_edited_message", lambda u: True)
    control.event("app_echo", **echo, message={"type": "revoke", "revoke": {"original_message_id": said}})
    inbox.find("outgoing_deleted_message", lambda u: True)
    control.event("preference", number=NUMBER, customer=ANA["phone"], value="stop")
    inbox.find("user_marketing_preferences", lambda u: True)
    control.event("identity_changed", number=NUMBER, customer=ANA["phone"])
    inbox.find("identity_change", lambda u: True)
    control.event("restricted", number=NUMBER, restriction="RESTRICTED_BIZ_INITIATED_MESSAGING", code=368,
                  expiration=1796004800)
    inbox.find("account_update", lambda u: True)
    try:
        wa.send_message(ANA["phone"], "restricted")
        raise AssertionError("the account is restricted")
    except errors.WhatsAppError as error:
        assert error.code == 368, error
    control.event("restriction_lifted", number=NUMBER)
    seen += ["edit", "revoke", "app_echo", "preference", "identity_changed", "restricted"]
    return seen


def errors_are_told(wa, control, inbox):
    # The documentation has no contacts in failed statuses; pywa cannot read them without.
    failing = {"15550100188": {"code": 131026, "late": True}}
    control.post("config", {"failing": failing, "contacts_in_failed": True, "window": False})
    message = wa.send_message("15550100188", "Hello?")
    failed = inbox.find("message_status", lambda s: s.id == message.id and s.error)
    assert failed.error.code == 131026
    control.post("config", {"window": True})
    for send, code in [
        (lambda: wa.send_message("15550100177", "never wrote"), 131047),
        (lambda: wa.send_message(ANA["phone"], "x" * 4097), 131009),
        (lambda: wa.get_media_url("77"), 100),
    ]:
        try:
            send()
            raise AssertionError(f"{code} was due")
        except errors.WhatsAppError as error:
            assert error.code == code, error


def management(wa, control, url):
    phone = wa.get_business_phone_number()
    assert phone.id == NUMBER and phone.verified_name == "Example Shop"
    assert [p.id for p in wa.get_business_phone_numbers()] == [NUMBER]
    token = wa.get_app_access_token(int(APP), SECRET)
    assert wa.set_app_callback_url(int(APP), token, url, VERIFY, ["messages", "smb_message_echoes"])
    assert wa.override_waba_callback_url(url, VERIFY)
    assert wa.delete_waba_callback_url()
    assert wa.override_phone_callback_url(url, VERIFY)
    assert wa.delete_phone_callback_url()
    assert wa.register_phone_number("123456")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--whatsapp", required=True, help="base URL of the simulated Cloud API")
    parser.add_argument("--control", required=True, help="base URL of the control API")
    arguments = parser.parse_args()
    control = Control(arguments.control)
    session = httpx.Client(transport=ToSimulator(arguments.whatsapp), trust_env=False, timeout=30)
    wa = WhatsApp(
        phone_id=NUMBER, token=TOKEN, session=session, server=None, verify_token=VERIFY, waba_id=WABA,
        app_id=APP, app_secret=SECRET, validate_updates=True, filter_updates=False,
    )
    inbox = Inbox(wa)
    url = serve(wa)
    control.post("numbers", {
        "phone_number_id": NUMBER, "waba_id": WABA, "display_phone_number": "15550100200", "token": TOKEN,
        "app_secret": SECRET, "callback_url": url, "verify_token": VERIFY,
    })
    control.post("verify", {"number": NUMBER})
    control.post("config", {"pair_limit": False, "number_limit": False})
    sent = outbound(wa, control, inbox)
    sent_templates = templates(wa, control, inbox, sent)
    received = inbound(wa, control, inbox, sent)
    errors_are_told(wa, control, inbox)
    moved = control.event("number_changed", number=NUMBER, customer=ANA["phone"], phone="15550100166")
    inbox.message(moved, "phone_number_change")
    fields = sorted(inbox.fields)
    management(wa, control, url)
    print(json.dumps({"sent": len(sent) + sent_templates, "received": len(received) + 1, "fields": fields}))


if __name__ == "__main__":
    main()
