/** Packages that people use, each with a program that only works where the package really does. */

/** Rows of packages.txt, a program that uses them, and what it prints. */
export const REAL_PACKAGES: readonly (readonly [string, string, string])[] = [
  [
    "numpy==1.26.4",
    "import numpy; print(numpy.__version__, numpy.linalg.inv([[2.0]])[0, 0])",
    "1.26.4 0.5",
  ],
  [
    "numpy==2.1.3",
    "import numpy; print(numpy.__version__, numpy.linalg.inv([[2.0]])[0, 0])",
    "2.1.3 0.5",
  ],
  [
    "pandas==2.2.3\nnumpy==2.1.3",
    "import pandas; print(pandas.DataFrame({'a': [1, 2]}).a.sum())",
    "3",
  ],
  [
    "scikit-learn==1.5.2\nnumpy==2.1.3",
    "from sklearn.linear_model import LinearRegression as L; print(round(L().fit([[0], [1]], [0, 2]).predict([[3]])[0]))",
    "6",
  ],
  [
    "matplotlib==3.9.2\nnumpy==2.1.3",
    "import io, matplotlib; matplotlib.use('agg'); import matplotlib.pyplot as p; from mpl_toolkits.mplot3d import Axes3D; p.plot([1, 2]); b = io.BytesIO(); p.savefig(b); print(b.getvalue()[1:4].decode())",
    "PNG",
  ],
  [
    "PIL:pillow==10.4.0",
    "from PIL import Image; print(Image.new('RGB', (2, 3)).resize((4, 6)).size)",
    "(4, 6)",
  ],
  [
    "requests==2.32.3",
    "import requests; print(requests.Request('GET', 'http://a/', params={'b': 1}).prepare().url)",
    "http://a/?b=1",
  ],
  [
    "flask==3.0.3",
    "import flask; a = flask.Flask('x'); a.add_url_rule('/', view_func=lambda: 'hi'); print(a.test_client().get('/').text)",
    "hi",
  ],
  [
    "sqlalchemy==2.0.35",
    "import sqlalchemy as s; print(s.create_engine('sqlite://').connect().execute(s.text('select 7')).scalar())",
    "7",
  ],
  [
    "pydantic==2.9.2",
    "import pydantic; M = pydantic.create_model('M', a=(int, ...)); print(M(a='3').a)",
    "3",
  ],
  [
    "cryptography==43.0.1",
    "from cryptography.fernet import Fernet as F; f = F(F.generate_key()); print(f.decrypt(f.encrypt(b'x')).decode())",
    "x",
  ],
  ["lxml==5.3.0", "from lxml import etree; print(etree.fromstring('<a><b/></a>')[0].tag)", "b"],
  [
    "google.protobuf:protobuf==5.28.2\ngoogleapis-common-protos==1.65.0",
    "import google.protobuf; from google.rpc import status_pb2; print(status_pb2.Status(code=4).code)",
    "4",
  ],
  [
    "zope.interface==7.0.3\nzope.event==5.0",
    "import zope.interface, zope.event; print(len(zope.event.subscribers))",
    "0",
  ],
];
