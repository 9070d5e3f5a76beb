def handler(event):
    return "Hello, %s!" % event["name"]
